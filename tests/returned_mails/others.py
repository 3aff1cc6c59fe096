"""What is no hard bounce: delays, complaints, answers, and what nobody can read."""

from tests.returned_mails.writing import (
    EXCHANGE,
    EXIM,
    EXIM_OPENING,
    GMAIL,
    OPENSMTPD,
    OPENSMTPD_OPENING,
    POSTFIX,
    REPORT,
    SENDMAIL,
    SENT_BACK,
    Example,
    parts,
    plain,
    status,
    text,
)

DELAYS = [
    Example(
        "Postfix",
        "DELAYED",
        parts(
            POSTFIX,
            "Delayed Mail (still being retried)",
            REPORT,
            plain("# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #"),
            status("Status: 4.4.1", action="delayed"),
        ),
    ),
    Example(
        "Exim, text",
        "DELAYED",
        text(
            EXIM,
            "Warning: message 1aBcDe-000001-AB delayed 24 hours",
            "A message that you sent has not yet been delivered to one or more of its\nrecipients after more than 24 hours on the queue.\n\n"
            "  kim@ward.example\n    Delay reason: 452 4.2.2 over quota\n\nNo action is required on your part. Delivery attempts will continue for\n"
            "some time. Eventually the mail delivery software will give up.",
        ),
    ),
    Example(
        "OpenSMTPD, text",
        "DELAYED",
        text(
            OPENSMTPD,
            "Delivery status notification: warning",
            f"{OPENSMTPD_OPENING}    A message is delayed for more than 4 hours for the following\n    list of recipients:\n\nkim@ward.example: Network error\n\n"
            "    Please note that this is only a temporary failure report.\n    You DO NOT NEED to re-send the message to these recipients.",
        ),
    ),
    Example(
        "Sendmail",
        "DELAYED",
        parts(
            SENDMAIL,
            "Warning: could not send message for past 4 hours",
            REPORT,
            plain("    **      YOU DO NOT NEED TO RESEND YOUR MESSAGE      **"),
            status("Status: 4.4.1", action="delayed"),
        ),
    ),
    Example(
        "Exchange",
        "DELAYED",
        parts(
            EXCHANGE,
            "Delivery delayed: You are invited",
            REPORT,
            plain("Delivery to these recipients has been delayed."),
            status("Status: 4.4.7", "Will-Retry-Until: Mon, 1 Jan 2029 00:00:00 +0000", action="delayed"),
        ),
    ),
    Example(
        "Gmail, text",
        "DELAYED",
        text(
            GMAIL,
            "Delivery Status Notification (Delay)",
            "THIS IS A WARNING MESSAGE ONLY. YOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\nDelivery to the following recipient has been delayed:\n\n     kim@ward.example",
        ),
    ),
]

COMPLAINTS = [
    Example(
        "ARF",
        "COMPLAINED",
        parts(
            "feedback@provider.example",
            "FW: You are invited",
            "multipart/report; report-type=feedback-report",
            plain("This is an email abuse report."),
            ("message/feedback-report", "Feedback-Type: abuse\nUser-Agent: Feedback/1.0\nVersion: 1"),
            SENT_BACK,
        ),
    ),
    Example(
        "ARF, no report type",
        "COMPLAINED",
        parts(
            "feedback@provider.example",
            "complaint",
            "multipart/mixed",
            ("message/feedback-report", "Feedback-Type: fraud\nVersion: 1"),
            ("message/rfc822", "Subject: x\n\n550 5.1.1 user unknown"),
        ),
    ),
]

NO_BOUNCES = [
    Example(
        "Outlook, out of office",
        "answer",
        text(
            "Kim Doe <kim@ward.example>",
            "Automatic reply: You are invited",
            "I am out of the office. Mail to this address could not be delivered to me before Monday.",
            "Auto-Submitted: auto-generated",
            "X-Auto-Response-Suppress: All",
        ),
    ),
    Example(
        "Gmail, vacation",
        "answer",
        text(
            "Kim Doe <kim@ward.example>",
            "Away until Monday Re: You are invited",
            "550 days to go",
            "Auto-Submitted: auto-replied",
        ),
    ),
    Example(
        "vacation(1)",
        "answer",
        text(
            "Kim Doe <kim@ward.example>",
            "away from my mail",
            "User unknown to himself. Delivery failed.",
            "Precedence: bulk",
        ),
    ),
    Example(
        "Exchange, out of office with a null sender",
        "answer",
        text(
            "Kim Doe <kim@ward.example>",
            "Out of Office: You are invited",
            "Undeliverable until May.",
            "Return-Path: <>",
        ),
    ),
    Example(
        "Lotus Notes, out of office",
        "answer",
        text("Kim Doe <kim@ward.example>", "AUTO: Kim Doe is out of the office (returning 01/02/2029)", "x"),
    ),
    Example(
        "German, out of office",
        "answer",
        text("Kim Doe <kim@ward.example>", "Automatische Antwort: You are invited", "Ich bin nicht da."),
    ),
    Example(
        "Read receipt",
        "answer",
        parts(
            "Kim Doe <kim@ward.example>",
            "Read: You are invited",
            "multipart/report; report-type=disposition-notification",
            plain("Your message was read."),
            (
                "message/disposition-notification",
                "Final-Recipient: rfc822; kim@ward.example\nDisposition: manual-action/MDN-sent-manually; displayed",
            ),
        ),
    ),
    Example(
        "Forensic report with a status part",
        "answer",
        parts(
            "noreply-dmarc@provider.example",
            "Report",
            "multipart/report; report-type=feedback-report",
            status("Status: 5.7.1"),
            ("message/feedback-report", "Feedback-Type: auth-failure\nVersion: 1"),
        ),
    ),
    Example(
        "Relayed, not the end",
        "answer",
        parts(POSTFIX, "Successful Mail Delivery Report", REPORT, status("Status: 2.0.0", action="relayed")),
    ),
    Example(
        "A person's reply",
        "unreadable",
        text(
            "Kim Doe <kim@ward.example>",
            "Re: You are invited",
            "Thank you! Action: failed\nStatus: 5.1.1\n550 user unknown",
        ),
    ),
    Example(
        "A person forwards a bounce",
        "unreadable",
        text("Kim Doe <kim@ward.example>", "Fwd: Undelivered Mail Returned to Sender", f"> {EXIM_OPENING}"),
    ),
    Example(
        "Challenge",
        "unreadable",
        text("Kim Doe <kim@ward.example>", "Re: You are invited", "Click here so that your mail is delivered."),
    ),
    Example("Spam", "unreadable", text("Deals <deals@shop.example>", "Your mailbox is full of offers", "Buy now.")),
    Example("Nothing at all", "unreadable", "\n"),
]
