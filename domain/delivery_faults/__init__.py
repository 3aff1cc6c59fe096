"""Whose fault it is that a message was refused: the recipient's, ours, the relay's, or nobody's yet.

Every road asks here: an SMTP reply at MAIL, RCPT or DATA, a delivery status notification, an event of SES or Postmark, and an answer or
a status callback of a Twilio-compatible carrier. Only the recipient's fault ends a delivery as BOUNCED and holds the address. What is
ours or the relay's is told to the operator, and is never blamed on an address.
"""

from domain.delivery_faults.carriers import PhoneCause, PhoneJudgment, Scope, of_answer, of_callback
from domain.delivery_faults.causes import Cause, Fault, Judgment
from domain.delivery_faults.providers import POSTMARK_DELAYS, of_postmark_bounce, of_ses_bounce
from domain.delivery_faults.replies import Stage, enhanced_code, of_status

__all__ = [
    "POSTMARK_DELAYS",
    "Cause",
    "Fault",
    "Judgment",
    "PhoneCause",
    "PhoneJudgment",
    "Scope",
    "Stage",
    "enhanced_code",
    "of_answer",
    "of_callback",
    "of_postmark_bounce",
    "of_ses_bounce",
    "of_status",
]
