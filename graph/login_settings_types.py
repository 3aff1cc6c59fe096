"""Login settings as clients see them; apart from the mutation, since users and practices show them."""

import strawberry

from domain.allowed_hours import AllowedHours as HoursRecord
from domain.login_settings import LoginSettings as SettingsRecord
from domain.models.columns import PhoneChannel, PracticeAccessCodePolicy, SecurityCodePolicy, Weekday

FROM = "HH:MM, from 00:00 to 23:59."
UNTIL = "HH:MM, from 00:00 to 24:00; at or before `from` runs past midnight."


@strawberry.type(description="A range of the week, by the clock of the practice's time zone.")
class AllowedHours:
    """One range."""

    day: Weekday = strawberry.field(description="The day on which it begins.")
    from_: str = strawberry.field(name="from", description=FROM)
    until: str = strawberry.field(description=UNTIL)

    @classmethod
    def of(cls, record: HoursRecord) -> "AllowedHours":
        """From the domain's record."""
        return cls(day=record.day, from_=record.opens, until=record.closes)


@strawberry.type(description="How and when somebody may sign in.")
class LoginSettings:
    """The settings in force."""

    security_code: SecurityCodePolicy = strawberry.field(description="When a code to the phone is asked for.")
    practice_access_code: PracticeAccessCodePolicy = strawberry.field(
        description="When the practice access code is asked for."
    )
    trusted_device_days: int = strawberry.field(
        description="How long a device is known after a code was given on it, 0 to 90; 0: no device is ever known."
    )
    idle_timeout_minutes: int = strawberry.field(
        description="Automatic log-off after so long without a request, 5 to 60."
    )
    session_hours: int = strawberry.field(description="How long a session lasts at most, 1 to 24.")
    allowed_hours: list[AllowedHours] = strawberry.field(description="Empty: any time. In the practice's time zone.")
    allowed_networks: list[str] = strawberry.field(description="CIDR, IPv4 and IPv6. Empty: anywhere.")
    phone_channels: list[PhoneChannel] = strawberry.field(description="How security codes may be sent; never empty.")
    voice_fallback: bool = strawberry.field(
        description="Whether a text that does not arrive is followed by a call with the same code; of account only where phoneChannels has"
        " VOICE."
    )

    @classmethod
    def of(cls, record: SettingsRecord) -> "LoginSettings":
        """From the domain's record."""
        return cls(
            security_code=record.security_code,
            practice_access_code=record.practice_access_code,
            trusted_device_days=record.trusted_device_days,
            idle_timeout_minutes=record.idle_timeout_minutes,
            session_hours=record.session_hours,
            allowed_hours=[AllowedHours.of(one) for one in record.allowed_hours],
            allowed_networks=[str(network) for network in record.allowed_networks],
            phone_channels=list(record.phone_channels),
            voice_fallback=record.voice_fallback,
        )
