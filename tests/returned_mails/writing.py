"""Returned mails in the forms that mail systems write, made up for the tests: one short example of each form, with what it has to be read as.

Each is (form, what it is, the mail). The address that it comes to is the envelope's; none stands in the header.
"""

from typing import NamedTuple


class Example(NamedTuple):
    """form: which program writes so. expected: a verdict of `mail_reports`, or the kind that `bounces` gives without one."""

    form: str
    expected: str
    mail: str


def text(sender: str, subject: str, body: str, *headers: str, content_type: str = "text/plain; charset=utf-8") -> str:
    """A mail of one part."""
    lines = (f"From: {sender}", f"Subject: {subject}", *headers, "MIME-Version: 1.0", f"Content-Type: {content_type}")
    return "\n".join(lines) + f"\n\n{body}\n"


def parts(sender: str, subject: str, content_type: str, *bodies: tuple[str, str]) -> str:
    """A mail of several. bodies: the header and the content of each."""
    inside = "".join(f"--=_b\nContent-Type: {kind}\n\n{body}\n" for kind, body in bodies)
    return text(sender, subject, f"{inside}--=_b--", content_type=f'{content_type}; boundary="=_b"')


def status(*lines: str, action: str = "failed", kind: str = "message/delivery-status") -> tuple[str, str]:
    """A status part. lines: more fields of the recipient."""
    recipient = "\n".join(("Final-Recipient: rfc822; kim@ward.example", f"Action: {action}", *lines))
    return kind, f"Reporting-MTA: dns; mx.ward.example\n\n{recipient}\n"


def plain(body: str) -> tuple[str, str]:
    """A part for people."""
    return "text/plain; charset=us-ascii", body


REPORT = "multipart/report; report-type=delivery-status"
SENT_BACK = (
    "text/rfc822-headers",
    "From: access@practice.example\nSubject: You are invited: user unknown, mailbox full\n",
)
POSTFIX = "MAILER-DAEMON@mx.ward.example (Mail Delivery System)"
EXIM = "Mail Delivery System <Mailer-Daemon@mx.ward.example>"
SENDMAIL = "Mail Delivery Subsystem <MAILER-DAEMON@mx.ward.example>"
OPENSMTPD = "Mailer Daemon <MAILER-DAEMON@mx.ward.example>"
EXCHANGE = "Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@ward.example>"
GMAIL = "Mail Delivery Subsystem <mailer-daemon@googlemail.com>"
EXIM_OPENING = """This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  kim@ward.example
"""
EXIM_COPY = "\n------ This is a copy of the message, including all the headers. ------\n\nSubject: You are invited, user unknown\n"
QMAIL_OPENING = """Hi. This is the qmail-send program at mx.ward.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<kim@ward.example>:
"""
QMAIL_COPY = (
    "\n--- Below this line is a copy of the message.\n\nReturn-Path: <x@practice.example>\nSubject: over quota\n"
)
OPENSMTPD_OPENING = """    Hi!

    This is the MAILER-DAEMON, please DO NOT REPLY to this email.

"""
