"""What became of the code that somebody is waiting for, as far as whoever holds the token may know.

That is less than administrators see: how it travels and how far it got, but nothing of our carriers and what is wrong with them.
"""

from dataclasses import dataclass
from datetime import datetime

from domain import challenges, database, enrollment, security_codes, voice_fallback
from domain.errors import ChallengeInvalid
from domain.login_settings import DEFAULTS
from domain.models.columns import ChallengePurpose, DeliveryStatus, PhoneChannel
from domain.security_codes import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeDelivery:
    """The way by which the latest code arrived, else the latest way. channel: VOICE where a call followed a text; is_after_text tells.

    is_late: under way for 30 seconds. call_offered: another code by a call could be asked for now, and should be.
    """

    channel: PhoneChannel
    status: DeliveryStatus
    is_after_text: bool
    is_late: bool
    call_offered: bool
    expires_at: datetime


async def find(token: str) -> CodeDelivery | None:
    """For the token of an enrollment or a challenge; None when it is not, or no longer, good, or no code was sent. Writes nothing."""
    flow = await _flow(token)
    if flow is None:
        return None
    name, flow_id = flow
    row = await database.fetch_one(
        f"""
        SELECT d.channel, d.status, c.expires_at, d.channel <> c.channel AS is_after_text,
            d.status IN ('QUEUED', 'SENDING', 'RETRYING', 'SENT')
                AND coalesce(d.sent_at, d.queued_at) <= clock_now() - $2::float8 * interval '1 second' AS is_late,
            c.consumed_at IS NULL AND c.created_at + $3::interval <= clock_now()
                AND coalesce(l.phone_channels @> '["VOICE"]', $4) AS may_be_called
        FROM security_codes c JOIN deliveries d ON d.subject_id = c.id AND d.kind = 'security_code'
            LEFT JOIN login_settings_in_force l ON l.user_id = d.user_id
        WHERE c.{name} = $1 AND c.superseded_at IS NULL
        ORDER BY c.created_at DESC, d.status = 'DELIVERED' DESC, d.queued_at DESC, d.id DESC LIMIT 1
        """,  # noqa: S608 -- one of two literals
        flow_id,
        voice_fallback.PATIENCE_SECONDS,
        security_codes.COOL_DOWN,
        PhoneChannel.VOICE in DEFAULTS.phone_channels,
    )
    if row is None:
        return None
    status = DeliveryStatus(row["status"])
    is_missing = row["is_late"] or status in (DeliveryStatus.FAILED, DeliveryStatus.BOUNCED, DeliveryStatus.CANCELED)
    return CodeDelivery(
        channel=PhoneChannel(row["channel"]),
        status=status,
        is_after_text=row["is_after_text"],
        is_late=row["is_late"],
        call_offered=is_missing and row["may_be_called"],
        expires_at=row["expires_at"],
    )


async def _flow(token: str) -> tuple[Flow, object] | None:
    found = await enrollment.find_row(token)
    if found is not None:
        return "enrollment_id", found["id"]
    try:
        return "challenge_id", (await challenges.find(token, *ChallengePurpose))["challenge_id"]
    except ChallengeInvalid:
        return None
