"""A practice signs up: what was typed, the proof of the address, and the practice that comes of it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from domain import (
    address_holders,
    addresses,
    audit,
    budgets,
    database,
    enrollment,
    finished_enrollments,
    link_tokens,
    names,
    networks,
    outbox,
    phone_countries,
    secrets,
)
from domain.actors import Actor
from domain.audit import Action
from domain.errors import EmailInUse, LimitReached, LinkExpired, LinkInvalid, Problems
from domain.models import SignUp
from domain.models.columns import uuid7
from domain.outbox import Kind, Message

LIFETIME = timedelta(hours=24)
# For how long the very same form counts as one.
SECOND_CLICK = timedelta(seconds=60)
DEFAULT_TIME_ZONE = "America/New_York"
# Files among the time zones that name no place: a server's own, and what is used before one is set.
NO_PLACES = {"Factory", "localtime", "posixrules"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUpForm:
    """What somebody typed. phone: the practice's contact number, in any spelling. time_zone: an IANA name."""

    first_name: str
    last_name: str
    email: str
    phone: str
    practice_name: str
    specialty: str
    time_zone: str | None = None


async def sign_up(actor: Actor, form: SignUpForm) -> str:
    """Take a practice's sign-up and mail a link to the address; the address as typed.

    The answer and the work are the same whether or not the address is known; the mail tells its owner which it is. The very same form
    within a minute, as by a second click, sends nothing more. Raises InputInvalid, LimitReached (per network and per address). Writes: sign_up, delivery, audit "sign_up.requested".
    """
    values = _checked(form)
    try:
        network = f"sign-up:network:{networks.limit_key(actor.ip_address)}"
        async with budgets.spending(network, budgets.SIGN_UPS_PER_NETWORK), database.transaction():
            key = secrets.fingerprint("email", values["email_canonical"])
            await budgets.take(f"sign-up:address:{key}", budgets.SIGN_UPS_PER_ADDRESS)
            if await _was_just_taken(values):
                return form.email
            now = await database.now()
            expires_at = now + LIFETIME
            row = await SignUp.create(
                id=uuid7(), key_id=secrets.newest_key_id(), created_at=now, expires_at=expires_at, **values
            )
            # Neither an invitation nor an account that was deactivated keeps the owner of a mailbox from signing up.
            is_known = await address_holders.has_active_account(values["email_canonical"])
            kind = Kind.SIGN_UP_KNOWN if is_known else Kind.VERIFY_EMAIL
            await outbox.queue(Message(kind=kind, subject_id=row.id, expires_at=expires_at))
            await audit.record(actor, Action.SIGN_UP_REQUESTED, details={"known": is_known})
    except LimitReached:
        await audit.record(actor, Action.SIGN_UP_REFUSED, details={"reason": "limit"})
        raise
    return form.email


async def _was_just_taken(values: dict[str, Any]) -> bool:
    """Whether the same was typed within the last minute, and its link still waits to be followed to the end.

    The allowance of the address, which was taken in this transaction, lets two copies take turns.
    """
    fields = list(values)
    same = " AND ".join(f"{field} = ${place}" for place, field in enumerate(fields, 1))
    found = await database.fetch(
        f"SELECT 1 FROM sign_ups WHERE {same} AND completed_at IS NULL"  # noqa: S608 -- names of columns
        f" AND expires_at > clock_now() + ${len(fields) + 1}::interval",
        *(values[field] for field in fields),
        LIFETIME - SECOND_CLICK,
    )
    return bool(found)


def _checked(form: SignUpForm) -> dict[str, Any]:
    """The form as it is stored. Raises InputInvalid with everything that is wrong."""
    problems = Problems()
    values = {"email": addresses.shown_email(form.email), "time_zone": form.time_zone or DEFAULT_TIME_ZONE}
    try:
        values["first_name"], values["last_name"] = names.person_names(form.first_name, form.last_name)
    except names.NamesInvalid as error:
        for field, reason in error.reasons.items():
            problems.add((field,), f"This {reason}.")
    for field, value, check in (
        ("practice_name", form.practice_name, names.practice_name),
        ("specialty", form.specialty, names.specialty),
    ):
        try:
            values[field] = check(value)
        except names.NameInvalid as error:
            problems.add((_CLIENT_NAMES.get(field, field),), f"This {error.reason}.")
    try:
        values["email_canonical"] = addresses.canonical_email(form.email)
    except addresses.EmailInvalid as error:
        problems.add(("email",), f"This {error.reason}.")
    try:
        values["phone"] = addresses.e164(form.phone, phone_countries.served()[0], is_contact=True)
    except addresses.PhoneInvalid as error:
        problems.add(("phone",), f"This {error.reason}.")
    if values["time_zone"] not in available_timezones() - NO_PLACES:
        problems.add(("timeZone",), "This is not an IANA time zone, such as America/New_York.")
    problems.raise_any()
    return values


_CLIENT_NAMES = {"practice_name": "practiceName"}


async def verify_email(actor: Actor, token: str) -> enrollment.Progress:
    """Follow the link of a sign-up's mail: the address is proved, and setting up the account begins or goes on.

    token: as in `link_tokens.read`. Following it again leads to the same enrollment, and for an hour after the account was set up to the
    finished one. Raises LinkInvalid, LinkExpired, EmailInUse (there is an account with the address since), TooManyAttempts (a typed code).
    Writes: enrollment, audit "email.verified".
    """
    token = await link_tokens.read(actor, "verify-email", token)
    row_id = secrets.link_row_id(token)
    row = await _sign_up(row_id) if row_id else None
    if row is None or not secrets.is_link_token(token, "verify-email", row["id"], row["nonce"], row["key_id"]):
        raise LinkInvalid
    finished = await finished_enrollments.of_sign_up(row["id"])
    if finished is not None:
        return enrollment.progress(finished)
    if row["completed_at"] is not None:
        raise LinkInvalid
    if row["is_expired"]:
        raise LinkExpired
    if await address_holders.has_active_account(row["email_canonical"]):
        raise EmailInUse(row["email"], is_own_address=True)
    async with database.transaction():
        progress, is_new = await enrollment.open_for(sign_up_id=row["id"])
        if is_new:
            await audit.record(
                actor, Action.EMAIL_VERIFIED, subject_name=names.full_name(row["first_name"], row["last_name"])
            )
    return progress


async def _sign_up(row_id: UUID) -> database.Row | None:
    return await database.fetch_one(
        "SELECT *, expires_at <= clock_now() AS is_expired FROM sign_ups WHERE id = $1", row_id
    )
