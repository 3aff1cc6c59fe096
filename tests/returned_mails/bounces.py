"""Hard bounces."""

from tests.returned_mails.writing import (
    EXCHANGE,
    EXIM,
    EXIM_COPY,
    EXIM_OPENING,
    GMAIL,
    OPENSMTPD,
    OPENSMTPD_OPENING,
    POSTFIX,
    QMAIL_COPY,
    QMAIL_OPENING,
    REPORT,
    SENDMAIL,
    SENT_BACK,
    Example,
    parts,
    plain,
    status,
    text,
)

BOUNCES = [
    Example(
        "Postfix",
        "BOUNCED",
        parts(
            POSTFIX,
            "Undelivered Mail Returned to Sender",
            REPORT,
            plain('This is the mail system at host mx.ward.example.\n\n<kim@ward.example>: unknown user: "kim"'),
            status("Status: 5.1.1", 'Diagnostic-Code: X-Postfix; unknown user: "kim"'),
            SENT_BACK,
        ),
    ),
    Example(
        "Postfix",
        "FAILED",
        parts(
            POSTFIX,
            "Undelivered Mail Returned to Sender",
            REPORT,
            plain("This is the mail system at host mx.ward.example."),
            status(
                "Status: 5.7.1",
                "Diagnostic-Code: smtp; 554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using bl.example",
            ),
        ),
    ),
    Example(
        "Postfix, no report type",
        "BOUNCED",
        parts(
            POSTFIX,
            "Undelivered Mail Returned to Sender",
            "multipart/report",
            plain("I'm sorry."),
            status("Status: 5.0.0", "Diagnostic-Code: smtp; 550 5.1.1 <kim@ward.example>: User unknown"),
        ),
    ),
    Example(
        "Postfix, 1990s",
        "BOUNCED",
        parts(
            POSTFIX,
            "Undelivered Mail Returned to Sender",
            "multipart/mixed",
            plain(
                "This is the Postfix program at host mx.ward.example.\n\nI'm sorry to have to inform you that the message returned\n"
                "below could not be delivered to one or more destinations.\n\n<kim@ward.example>: host mx2[192.0.2.1] said: 550 No such user"
            ),
            ("message/rfc822", "Subject: x\n\nx"),
        ),
    ),
    Example(
        "Exim, text",
        "BOUNCED",
        text(
            EXIM,
            "Mail delivery failed: returning message to sender",
            f"{EXIM_OPENING}    SMTP error from remote mail server after RCPT TO:<kim@ward.example>:\n    550 5.1.1 No such person here{EXIM_COPY}",
            "X-Failed-Recipients: kim@ward.example",
            "Auto-Submitted: auto-replied",
        ),
    ),
    Example(
        "Exim, reason in the text alone",
        "FAILED",
        parts(
            EXIM,
            "Mail delivery failed: returning message to sender",
            REPORT,
            plain(f"{EXIM_OPENING}    mailbox is full: retry timeout exceeded"),
            status("Status: 5.0.0"),
        ),
    ),
    Example(
        "Exim, out of time",
        "FAILED",
        text(
            EXIM,
            "Mail delivery failed: returning message to sender",
            f"{EXIM_OPENING}    host mx2 [192.0.2.1]: retry timeout exceeded{EXIM_COPY}",
            "X-Failed-Recipients: kim@ward.example",
        ),
    ),
    Example(
        "qmail",
        "BOUNCED",
        text(
            "MAILER-DAEMON@mx.ward.example",
            "failure notice",
            f"{QMAIL_OPENING}Sorry, no mailbox here by that name. (#5.1.1){QMAIL_COPY}",
        ),
    ),
    Example(
        "qmail",
        "FAILED",
        text(
            "MAILER-DAEMON@mx.ward.example",
            "failure notice",
            f"{QMAIL_OPENING}192.0.2.1 failed after I sent the message.\nRemote host said: 554 5.7.1 Message looks like spam.{QMAIL_COPY}",
        ),
    ),
    Example(
        "qmail, other words",
        "BOUNCED",
        text(
            "MAILER-DAEMON@mx.ward.example",
            "Mail Not Delivered",
            f"Unfortunately, your mail was not delivered to this address:\n\n<kim@ward.example>:\nRemote host said: 550 unknown user{QMAIL_COPY}",
        ),
    ),
    Example(
        "Sendmail",
        "BOUNCED",
        parts(
            SENDMAIL,
            "Returned mail: see transcript for details",
            REPORT,
            plain(
                "   ----- The following addresses had permanent fatal errors -----\n<kim@ward.example>\n    (reason: 550 no such user here)"
            ),
            status("Status: 5.1.1", "Diagnostic-Code: SMTP; 550 no such user here"),
        ),
    ),
    Example(
        "Sendmail, text",
        "FAILED",
        text(
            SENDMAIL,
            "Returned mail: see transcript for details",
            "   ----- The following addresses had permanent fatal errors -----\n<kim@ward.example>\n    (reason: 552 5.2.2 Over quota)\n\n"
            "   ----- Transcript of session follows -----\n<<< 552 5.2.2 Over quota\n\n   ----- Message header follows -----\nSubject: user unknown",
        ),
    ),
    Example(
        "OpenSMTPD",
        "BOUNCED",
        parts(
            OPENSMTPD,
            "Delivery status notification: failed",
            "multipart/mixed",
            plain(
                f"{OPENSMTPD_OPENING}    An error has occurred while attempting to deliver a message for\n    the following list of recipients:\n\n"
                "kim@ward.example: 550 5.1.1 <kim@ward.example>: User unknown\n\n    Below is a copy of the original message:"
            ),
            status("Status: 5.0.0"),
            SENT_BACK,
        ),
    ),
    Example(
        "OpenSMTPD, action error",
        "BOUNCED",
        parts(
            OPENSMTPD,
            "Delivery status notification: error",
            "multipart/mixed",
            plain(
                f"{OPENSMTPD_OPENING}    An error has occurred while attempting to deliver a message for\n\nkim@ward.example: Domain does not exist"
            ),
            status("Status: 5.0.0", action="error"),
        ),
    ),
    Example(
        "OpenSMTPD, the end told as a delay",
        "FAILED",
        parts(
            OPENSMTPD,
            "Delivery status notification: delayed",
            "multipart/mixed",
            plain(
                f"{OPENSMTPD_OPENING}    A message is delayed for more than 4 days for the following\n    list of recipients:\n\n"
                "kim@ward.example: Envelope expired\n\n    Please note that this is only a temporary failure report."
            ),
            status("Status: 4.4.7", action="delayed"),
        ),
    ),
    Example(
        "Exchange Online",
        "BOUNCED",
        parts(
            EXCHANGE,
            "Undeliverable: You are invited",
            REPORT,
            (
                "text/html",
                "<html><style>p { color: red }</style><p>Your message to kim@ward.example couldn't be delivered.</p><p>kim wasn't found at ward.example.</p>",
            ),
            status(
                "Status: 5.1.10",
                "Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
            ),
        ),
    ),
    Example(
        "Exchange Online",
        "FAILED",
        parts(
            EXCHANGE,
            "Undeliverable: You are invited",
            REPORT,
            plain("Your message couldn't be delivered."),
            status(
                "Status: 5.7.23",
                "Diagnostic-Code: smtp;550 5.7.23 The message was rejected because of Sender Policy Framework violation",
            ),
        ),
    ),
    Example(
        "Exchange 5.5",
        "BOUNCED",
        text(
            "System Administrator <postmaster@ward.example>",
            "Undeliverable: You are invited",
            "Your message\n\n  To:      kim@ward.example\n  Subject: You are invited\n\ndid not reach the following recipient(s):\n\n"
            "kim@ward.example on Mon, 1 Jan 2029 00:00:00 -0000\n    The recipient name is not recognized\n    MSEXCH:IMS:WARD:MX 0 (000C05A6) Unknown Recipient",
        ),
    ),
    Example(
        "Domino",
        "BOUNCED",
        text(
            "Postmaster@ward.example",
            "DELIVERY FAILURE: User kim (kim@ward.example) not listed in Domino Directory",
            "Your message\n\n  Subject: You are invited\n\nwas not delivered to:\n\n  kim@ward.example\n\nbecause:\n\n"
            "  User kim (kim@ward.example) not listed in Domino Directory",
        ),
    ),
    Example(
        "Domino",
        "FAILED",
        text(
            "Postmaster@ward.example",
            "DELIVERY FAILURE: Over quota",
            "Your message\n\n  Subject: user unknown\n\nwas not delivered to:\n\n  kim@ward.example\n\nbecause:\n\n  Recipient mailbox is full",
        ),
    ),
    Example(
        "Gmail",
        "BOUNCED",
        parts(
            GMAIL,
            "Delivery Status Notification (Failure)",
            REPORT,
            ("text/html", "<p>Address not found</p><p>Your message wasn't delivered to kim@ward.example</p>"),
            status(
                "Status: 5.1.1",
                "Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist.",
            ),
        ),
    ),
    Example(
        "Gmail, empty status",
        "FAILED",
        parts(
            GMAIL,
            "Delivery Status Notification (Failure)",
            REPORT,
            plain("** Message not delivered **\n\nThe response was:\n\nUnspecified error"),
            ("message/delivery-status", ""),
        ),
    ),
    Example(
        "Gmail, text",
        "BOUNCED",
        text(
            GMAIL,
            "Delivery Status Notification (Failure)",
            "Delivery to the following recipient failed permanently:\n\n     kim@ward.example\n\nTechnical details of permanent failure:\n"
            "The email account that you tried to reach does not exist.\n\n----- Original message -----\n\nquota exceeded",
        ),
    ),
    Example(
        "Yahoo",
        "BOUNCED",
        text(
            "MAILER-DAEMON@yahoo.com",
            "Failure Notice",
            "Sorry, we were unable to deliver your message to the following address.\n\n<kim@ward.example>:\n"
            "554: delivery error: dd This user doesn't have a ward.example account (kim@ward.example) [0]\n\n--- Below this line is a copy of the message.\n\nx",
        ),
    ),
    Example(
        "Yahoo",
        "FAILED",
        text(
            "MAILER-DAEMON@yahoo.com",
            "Failure Notice",
            "Unable to deliver message to the following address(es).\n\n<kim@ward.example>:\nThis account is over quota.\n\n--- Original message follows.\n\nx",
        ),
    ),
    Example(
        "Zoho",
        "BOUNCED",
        parts(
            "mailer-daemon@mail.zoho.com",
            "Undelivered Mail Returned to Sender",
            "multipart/mixed",
            plain(
                "This message was created automatically by mail delivery software.\nA message that you sent could not be delivered to one or more of "
                "its recipients. This is a permanent error.\n\nkim@ward.example Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.1 unknown user"
                "\n\nReceived:from mail.zoho.com\nSubject:over quota"
            ),
        ),
    ),
    Example(
        "Action with a comment",
        "FAILED",
        parts(POSTFIX, "Returned mail", REPORT, status("Status: 4.4.7", action="Failed (expired)")),
    ),
    Example(
        "Action of another word",
        "FAILED",
        parts(POSTFIX, "Failed mail", REPORT, status("Status: 5.3.4", action="failure")),
    ),
    Example(
        "Encoded status",
        "BOUNCED",
        parts(
            POSTFIX,
            "Undeliverable",
            REPORT,
            (
                "message/delivery-status\nContent-Transfer-Encoding: base64",
                "UmVwb3J0aW5nLU1UQTogZG5zOyBteC53YXJkLmV4YW1wbGUKCkZpbmFsLVJlY2lwaWVudDogcmZj\nODIyOyBraW1Ad2FyZC5leGFtcGxlCkFjdGlvbjogZmFpbGVkClN0YXR1czogNS4xLjEK",
            ),
        ),
    ),
    Example(
        "A report inside a wrapper",
        "BOUNCED",
        parts(
            POSTFIX,
            "Undeliverable",
            "multipart/mixed",
            (
                'multipart/report; report-type=delivery-status; boundary="=_inner"',
                "--=_inner\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; kim@ward.example\nAction: failed\nStatus: 5.1.1\n--=_inner--",
            ),
        ),
    ),
    Example(
        "Action for all recipients",
        "BOUNCED",
        parts(
            POSTFIX,
            "Undeliverable",
            REPORT,
            (
                "message/delivery-status",
                "Reporting-MTA: dns; mx\nAction: failed\n\nFinal-Recipient: rfc822; kim@ward.example\nStatus: 5.1.1\n",
            ),
        ),
    ),
    Example(
        "Dovecot, a receipt that rejects",
        "FAILED",
        parts(
            f"{SENDMAIL}",
            "Automatically rejected mail",
            "multipart/report; report-type=disposition-notification",
            plain("Your message to <kim@ward.example> was automatically rejected:\nQuota exceeded"),
            (
                "message/disposition-notification",
                "Final-Recipient: rfc822; kim@ward.example\nDisposition: automatic-action/MDN-sent-automatically; deleted",
            ),
        ),
    ),
]
