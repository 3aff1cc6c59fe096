"""Events of mail providers: Amazon SES and Postmark."""

from domain.delivery_faults.causes import Cause, Judgment
from domain.delivery_faults.replies import Stage, of_status

# https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types; where the code and the words say less.
_SES = {
    "NoEmail": Cause.NO_MAILBOX,
    "Suppressed": Cause.SUPPRESSED,
    "OnAccountSuppressionList": Cause.SUPPRESSED,
    "MailboxFull": Cause.MAILBOX_FULL,
    "MessageTooLarge": Cause.TOO_LARGE,
    "CustomTimeoutExceeded": Cause.ROUTE,
    "ContentRejected": Cause.CONTENT,
    "AttachmentRejected": Cause.CONTENT,
}
# https://postmarkapp.com/developer/api/bounce-api#bounce-types; the types that are not here say nothing about whether it arrived.
_POSTMARK = {
    "HardBounce": Cause.NO_MAILBOX,
    "BadEmailAddress": Cause.NO_MAILBOX,
    "ManuallyDeactivated": Cause.SUPPRESSED,
    "SoftBounce": Cause.NOT_SAID,
    "DnsError": Cause.NO_ANSWER,
    "Blocked": Cause.POLICY,
    "SpamNotification": Cause.CONTENT,
    "DMARCPolicy": Cause.NOT_AUTHENTICATED,
    "VirusNotification": Cause.CONTENT,
    "SMTPApiError": Cause.SYSTEM,
    "InboundError": Cause.SYSTEM,
    "TemplateRenderingFailed": Cause.FORMAT,
    "Unknown": Cause.NOT_SAID,
}
POSTMARK_DELAYS = ("Transient",)


def of_ses_bounce(kind: str, subtype: str, code: str | None, text: str) -> Judgment:
    """Whose fault a bounce is that SES tells of. kind: Permanent, Transient or Undetermined. code, text: of the first recipient."""
    judged = of_status(code, text, stage=Stage.REPORT)
    is_temporary = kind != "Permanent"
    cause = _SES.get(subtype)
    if cause is None or (cause is Cause.NO_MAILBOX and judged.cause is not Cause.NOT_SAID):
        cause = judged.cause
    return Judgment(cause=cause, code=judged.code, is_temporary=is_temporary)


def of_postmark_bounce(kind: str, text: str) -> Judgment | None:
    """Whose fault a bounce is that Postmark tells of; None for what says nothing about whether the mail arrived.

    kind: Postmark's type. text: the receiving server's words; they decide where they are plain, since a HardBounce may be a block list.
    """
    cause = _POSTMARK.get(kind)
    if cause is None and kind not in POSTMARK_DELAYS:
        return None
    judged = of_status(None, text, stage=Stage.REPORT)
    if cause is None or (cause is not Cause.SUPPRESSED and judged.cause is not Cause.NOT_SAID):
        cause = judged.cause
    return Judgment(cause=cause, code=judged.code, is_temporary=kind in (*POSTMARK_DELAYS, "SoftBounce", "DnsError"))
