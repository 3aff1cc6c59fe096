"""What happened to somebody, in words for whoever is on the phone with them."""

import json
from datetime import datetime, tzinfo
from typing import Any

from domain.audit import Action
from domain.audit_log import EventRecord
from domain.deliveries import AttemptRecord, DeliveryRecord
from domain.errors import Allowance
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Kind

# "{reason}" and the like stand for details of the event.
EVENTS: dict[Action, str] = {
    Action.ACCESS_REFUSED: "Asked for something that their access level does not allow.",
    Action.SIGN_UP_REQUESTED: "Somebody asked to sign a practice up.",
    Action.SIGN_UP_REFUSED: "A sign-up was refused: too many.",
    Action.EMAIL_VERIFIED: "The link of the sign-up was followed.",
    Action.PRACTICE_CREATED: "The practice was created.",
    Action.PAC_ISSUED: "The practice got its first access code.",
    Action.PAC_ROTATED: "The practice access code was replaced.",
    Action.PAC_EARLIER_ENDED: "The practice access codes from before were ended.",
    Action.PAC_SETTINGS_CHANGED: "The settings of the practice access code were changed.",
    Action.PAC_VIEWED: "Looked at the practice access code.",
    Action.PAC_REFUSED: "The practice access code was refused: {reason}.",
    Action.INVITATION_SENT: "Was invited.",
    Action.INVITATION_REFUSED: "An invitation was refused: {reason}.",
    Action.INVITATION_RESENT: "The invitation was sent again, with a fresh link.",
    Action.INVITATION_RESEND_REFUSED: "The invitation was not sent again: {reason}.",
    Action.INVITATION_BOUNCED: "The mail of the invitation came back: {reason}",
    Action.INVITATION_COMPLAINED_OF: "The invitation was marked as spam.",
    Action.BOUNCED_ADDRESS_LIFTED: "The address may get invitations again.",
    Action.INVITATION_REVOKED: "The invitation was taken back.",
    Action.INVITATION_DECLINED: "The invitation was declined.",
    Action.INVITATION_ENDED: "The invitation ended: {reason}.",
    Action.PRACTICE_UNKNOWN: "Says that they do not know the practice.",
    Action.INVITATION_OPENED: "Gave the invitation's link and the right practice access code.",
    Action.INVITATION_OPEN_REFUSED: "The invitation was opened where somebody else is signed in.",
    Action.INVITATION_ACCEPTED: "Set the account up.",
    Action.CODE_SENT: "A security code was sent by {channel}.",
    Action.CODE_REFUSED: "{refusal}",
    Action.CODE_BUDGET_USED_UP: "A budget for codes was used up, so no code was sent that falls under it ({budget_kind}, {amount} in its window).",
    Action.MONEY_GUARD_TRIPPED: "The money guard stopped codes to new phones for an hour ({scope}).",
    Action.MONEY_GUARD_LIFTED: "An operator let codes go to new phones again.",
    Action.DELIVERIES_CANCELED: "An operator called back what was waiting, since a backup was restored: {reason}",
    Action.ALL_SIGNED_OUT: "An operator ended every session and trusted device, since a backup was restored: {reason}",
    Action.SERVER_KEY_FORGOTTEN: "An operator gave up a server key that is lost: {reason}",
    Action.PHONE_VERIFIED: "Proved the phone with a code.",
    Action.PASSWORD_SET: "Set the first password.",
    Action.PASSWORD_CHANGED: "Changed the password.",
    Action.PASSWORD_REFUSED: "A password was refused: {reason}.",
    Action.PASSWORD_RESET_REQUESTED: "A link for a new password was asked for.",
    Action.PASSWORD_RESET_REFUSED: "No link for a new password was sent: {reason}.",
    Action.PASSWORD_RESET_SENT: "An administrator sent a link for a new password.",
    Action.PASSWORD_RESET_STARTED: "Followed the link for a new password.",
    Action.PASSWORD_RESET: "Set a new password with link and code.",
    Action.EMAIL_CHANGE_REQUESTED: "Asked for another address; a link was sent there.",
    Action.EMAIL_CHANGE_REFUSED: "Changing the address was refused: {reason}.",
    Action.EMAIL_CHANGED: "The address was changed.",
    Action.EMAIL_CHANGE_BOUNCED: "The mail to the new address came back: {reason}",
    Action.EMAIL_CHANGE_COMPLAINED_OF: "The mail to the new address was marked as spam.",
    Action.PHONE_CHANGED: "Proved another phone.",
    Action.PHONE_RESET: "The phone was taken away.",
    Action.PHONE_RESET_REFUSED: "The phone was not taken away: {reason}.",
    Action.PHONE_RESET_PLANNED: "The phone is to be taken away in 24 hours: {reason}",
    Action.EMAIL_CORRECTED: "Another address was entered for them; a link was sent there.",
    Action.EMAIL_CORRECTION_REFUSED: "Correcting the address was refused: {reason}.",
    Action.ACCOUNT_CHANGE_STOPPED: "Put back what somebody else had changed.",
    Action.USER_HISTORY_VIEWED: "An operator looked at this history.",
    Action.USER_UNLOCKED: "An operator lifted the locks of wrong passwords and codes: {reason}",
    Action.USER_RENAMED: "The name was changed.",
    Action.RECOVERY_CODES_RENEWED: "Made new recovery codes.",
    Action.RECOVERY_CODE_USED: "Used a recovery code in place of a code from the phone.",
    Action.RECOVERY_CODE_REFUSED: "A recovery code was refused: {reason}.",
    Action.SESSION_RENEWED: "Gave password and code once more.",
    Action.USER_ACTIVATED: "Is in for the first time.",
    Action.USER_DEACTIVATED: "Was blocked.",
    Action.USER_REACTIVATED: "Was let back in.",
    Action.USER_REACTIVATION_REFUSED: "Was not let back in: {reason}.",
    Action.ADDRESS_RELEASED: "The address can be used by others.",
    Action.ADDRESS_RELEASE_REFUSED: "The address was not released: {reason}.",
    Action.ACCESS_LEVEL_CHANGED: "The access level was changed.",
    Action.ACCESS_LEVEL_REFUSED: "The access level was not changed: {reason}.",
    Action.USER_DEACTIVATION_REFUSED: "Was not blocked: {reason}.",
    Action.SIGN_IN_CHALLENGED: "Gave the right password on a device that needs a code.",
    Action.SIGN_IN_REFUSED: "A sign-in was refused: {reason}.",
    Action.SIGNED_IN: "Signed in.",
    Action.SIGNED_OUT: "A session ended.",
    Action.SESSION_REFUSED: "An open session was kept out: {reason}.",
    Action.DEVICE_TRUSTED: "A device needs no code for a while.",
    Action.DEVICE_FORGOTTEN: "A device needs a code again.",
    Action.INVITATION_REMINDED: "Was reminded of the invitation.",
    Action.INVITATION_SUMMARY_SENT: "Was told which invitations are about to end.",
    Action.DELIVERY_REDELIVERED: "A message that did not arrive was sent again.",
    Action.DELIVERY_REDELIVERY_REFUSED: "A message was not sent again: {reason}.",
    Action.DELIVERY_CANCELED: "An operator called a waiting message back.",
    Action.AUDIT_LOG_VIEWED: "Opened the audit log.",
    Action.AUDIT_LOG_VERIFIED: "The audit log was verified.",
    Action.AUDIT_LOG_EXPORTED: "The audit log was exported.",
    Action.AUDIT_LOG_CUT: "Old events were taken off the audit log.",
    Action.LOGIN_SETTINGS_CHANGED: "The login settings were changed.",
    Action.LOGIN_SETTINGS_REFUSED: "A change of the login settings was refused.",
    Action.LOGIN_SETTINGS_RESET: "An operator took allowed hours and networks away.",
    Action.SUBSCRIPTION_CHANGED: "The subscription was changed.",
    Action.SUBSCRIPTION_NOTICE_SENT: "The administrators were told about the subscription.",
    Action.EMERGENCY_ACCESS_GRANTED: "An operator made them an administrator: {reason}",
}

CODE_REFUSALS = {
    "wrong code": "A wrong security code was typed.",
    "too many wrong codes": "A security code was not taken: too many wrong ones were typed before.",
    "no code that is good any more": "A security code was not taken: it had run out, was used, or was replaced by a newer one.",
    "too soon after the code before": "No security code was sent by {channel}: the one before was less than 30 seconds old. Free again at {retry_at}.",
    "limit": "No security code was sent by {channel}: {limit}. Free again at {retry_at}.",
    "channel not allowed": "No security code was sent: the practice does not use {channel}.",
    "number cannot be used": "No security code was sent: the number {number}.",
    "country not served": "No security code was sent: codes do not go to the country of the phone ({country}).",
}
LIMITS = {
    Allowance.CODES.value: "the person's, the phone's or the practice's codes of the day are used up",
    Allowance.NEW_PHONES.value: "codes to phones that are not proved yet are used up, or held back by the money guard",
    Allowance.WRONG_CODES.value: "too many wrong codes were typed before, so codes are locked",
}
CHANNELS = {Channel.SMS.value: "text", Channel.VOICE.value: "call", Channel.EMAIL.value: "e-mail"}
BUDGETS = {
    "practice": "the practice's",
    "prefix": "a range of numbers",
    "network": "a network's",
    "country": "a country's",
    "day": "the day's of the product",
}
STATUSES = {
    DeliveryStatus.QUEUED: "waits to be sent",
    DeliveryStatus.SENDING: "is being sent",
    DeliveryStatus.RETRYING: "could not be sent yet, and is tried again",
    DeliveryStatus.SENT: "was taken by the relay or carrier, which has not told more",
    DeliveryStatus.DELIVERED: "arrived",
    DeliveryStatus.BOUNCED: "came back: the address or number does not take it",
    DeliveryStatus.FAILED: "failed",
    DeliveryStatus.CANCELED: "was called back before it was sent",
}
TRIES = {
    DeliveryStatus.SENT: "the relay or carrier took it",
    DeliveryStatus.DELIVERED: "the relay or carrier took it",
    DeliveryStatus.RETRYING: "it could not be sent now",
    DeliveryStatus.BOUNCED: "the address or number was refused",
    DeliveryStatus.FAILED: "it was refused",
    DeliveryStatus.CANCELED: "it was not wanted any more",
}


def of_event(event: EventRecord, zone: tzinfo) -> str:
    """A sentence, with who did it where that was somebody else, and from which address."""
    details = _Details(json.loads(event.details), zone)
    action = Action(event.action) if event.action in set(Action) else None
    words = EVENTS[action] if action is not None else f"{event.action}."
    if action is Action.CODE_REFUSED:
        words = CODE_REFUSALS.get(details["reason"], "A security code was refused: {reason}.")
    told = words.format_map(details)
    if event.actor_user_id != event.subject_user_id or event.actor_user_id is None:
        told += f" By {event.actor_name}."
    return f"{told} [{event.ip_address}]" if event.ip_address else told


class _Details(dict[str, str]):
    """What an event says, by name, for a sentence; "not said" for the rest. Only what a sentence asks for is shown."""

    def __init__(self, details: dict[str, Any], zone: tzinfo) -> None:
        super().__init__({name: str(value) for name, value in details.items()})
        if "channel" in self:
            self["channel"] = CHANNELS.get(self["channel"], self["channel"])
        if "limit" in self:
            self["limit"] = LIMITS.get(self["limit"], "an allowance is used up")
        if "retry_at" in self:
            self["retry_at"] = f"{datetime.fromisoformat(self['retry_at']).astimezone(zone):%H:%M:%S}"
        if "budget" in self:  # its name holds a network, or the first digits of numbers
            self["budget_kind"] = next(
                (BUDGETS[part] for part in self["budget"].split(":") if part in BUDGETS), "a shared one"
            )
        if "scope" in self:
            self["scope"] = {"PRACTICE": "of the practice", "PREFIX": "of a range of numbers"}.get(
                self["scope"], "everywhere"
            )

    def __missing__(self, name: str) -> str:
        return "not said"


def of_message(message: DeliveryRecord, zone: tzinfo) -> str:
    """What was promised, to where, and what has become of it."""
    what = "A security code" if message.kind == Kind.SECURITY_CODE else f"A message ({message.kind})"
    where = f" to {message.recipient}" if message.recipient else ""
    told = f"{what} by {CHANNELS[message.channel.value]}{where} was queued. It {STATUSES[message.status]}"
    if message.problem:
        told += f": {message.problem.rstrip('.')}"
    if message.next_try_at is not None and message.attempts:
        told += f" (next try at {message.next_try_at.astimezone(zone):%H:%M:%S})"
    fault = f" Fault: {message.fault.value}." if message.fault is not None else ""
    return f"{told}.{fault} Delivery {message.id}"


def of_try(message: DeliveryRecord, attempt: AttemptRecord) -> str:
    """What came of one try."""
    what = "code" if message.kind == Kind.SECURITY_CODE else message.kind
    if attempt.outcome is None:
        return f"Try {attempt.number} of the {what}: under way, or its worker ended."
    told = f"Try {attempt.number} of the {what} by {CHANNELS[message.channel.value]}: {TRIES.get(attempt.outcome, attempt.outcome.value)}"
    return f"{told}: {attempt.detail.rstrip('.')}." if attempt.detail else f"{told}."
