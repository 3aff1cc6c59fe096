"""What keeps a user out although they are who they say: the practice's subscription, the hour, the network.

Asked in two places: when a session is to begin, and on every request of one. Told only to whoever has proved who they are.
"""

from zoneinfo import ZoneInfo

from domain import allowed_hours, login_settings, networks
from domain.database import Row
from domain.errors import NetworkNotAllowed, OutsideAllowedHours, SubscriptionLapsed
from domain.models.columns import AccessLevel, SubscriptionStatus

Closed = SubscriptionLapsed | OutsideAllowedHours | NetworkNotAllowed

# What has to be read about a user `u` to tell, and where it stands.
COLUMNS = f"u.access_level, t.status AS subscription_status, t.access_allowed, p.time_zone, clock_now() AS moment, {login_settings.COLUMNS}"
TABLES = """
    users u JOIN practices p ON p.id = u.practice_id JOIN practice_standings t ON t.practice_id = u.practice_id
    JOIN login_settings_in_force l ON l.user_id = u.id
"""

# What the trail calls them.
REASONS: dict[type[Closed], str] = {
    SubscriptionLapsed: "subscription",
    OutsideAllowedHours: "outside the allowed hours",
    NetworkNotAllowed: "network not allowed",
}


def is_lapsed(row: Row) -> bool:
    """Whether the subscription keeps this user out; administrators come in, to put it right."""
    return not row["access_allowed"] and row["access_level"] != AccessLevel.ADMINISTRATOR


def closed(row: Row, ip_address: str) -> Closed | None:
    """Why a user may not come in now from an address; None when they may. row: with the columns above."""
    if is_lapsed(row):
        return SubscriptionLapsed(SubscriptionStatus(row["subscription_status"]))
    ranges = login_settings.hours_of(row["allowed_hours"])
    if ranges and not allowed_hours.is_open(ranges, ZoneInfo(row["time_zone"]), row["moment"]):
        return OutsideAllowedHours(allowed_hours.opens_at(ranges, ZoneInfo(row["time_zone"]), row["moment"]))
    if not networks.are_home_to(login_settings.networks_of(row["allowed_networks"]), ip_address):
        return NetworkNotAllowed(ip_address)
    return None
