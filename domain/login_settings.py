"""How and when a practice's staff may sign in. Every practice has these values until it can choose its own."""

from dataclasses import dataclass
from datetime import timedelta

from domain.models.columns import PhoneChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """The settings in force for somebody."""

    trusted_device_days: int = 30  # the most that OWASP ASVS 7.5.2 and the peers allow a remembered device
    idle_timeout_minutes: int = 30  # NIST SP 800-63B 4.2.3
    session_hours: int = 12  # NIST SP 800-63B 4.2.3
    phone_channels: tuple[PhoneChannel, ...] = (PhoneChannel.SMS, PhoneChannel.VOICE)

    @property
    def device_lifetime(self) -> timedelta:
        """How long a device is trusted after its latest sign-in."""
        return timedelta(days=self.trusted_device_days)

    @property
    def session_lifetime(self) -> timedelta:
        """How long a session lasts at most."""
        return timedelta(hours=self.session_hours)


DEFAULTS = LoginSettings()
