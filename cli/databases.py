"""Which database a command works on."""

from cli import embedded_postgres
from domain.settings import SettingInvalid, Settings


def required(settings: Settings) -> str:
    """The configured one. Raises SettingInvalid."""
    if settings.database_url is None:
        raise SettingInvalid(
            "DATABASE_URL",
            "is missing",
            "put one like postgres://user:password@host:5432/name; `practice-access dev` brings its own",
        )
    return settings.database_url


def configured_or_running(settings: Settings) -> str:
    """The configured one, or the one that `practice-access dev` has brought and runs just now. Raises SettingInvalid."""
    if settings.database_url is None and (url := embedded_postgres.running(settings.data_dir)) is not None:
        return url
    return required(settings)
