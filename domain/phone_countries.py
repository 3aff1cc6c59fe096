"""Which countries' numbers codes go to. What one code costs differs a hundredfold between them, and fraud lives on the dear ones."""

import phonenumbers

from domain import addresses
from domain.errors import PhoneNumberUnusable
from domain.settings import DEFAULT_COUNTRIES

_served: tuple[str, ...] = DEFAULT_COUNTRIES


def use_countries(countries: tuple[str, ...]) -> None:
    """Set the process's list, as ISO 3166-1 codes, home first. Called once at the start."""
    global _served  # noqa: PLW0603 -- one list a process, set where the process is put together
    _served = countries


def served() -> tuple[str, ...]:
    """The countries that codes go to, home first."""
    return _served


def country_of(phone: str) -> str:
    """The ISO code of an E.164 number's country: +1 alone has twenty-five of them. One that the operator added counts as home."""
    number = phonenumbers.parse(phone)
    if addresses.is_in_new_area(number):
        return "US" if addresses.is_in_new_area(number, addresses.NEW_AREA_CODES) else _home_of_added_codes()
    return phonenumbers.region_code_for_number(number) or addresses.NO_COUNTRY


def _home_of_added_codes() -> str:
    return next((country for country in _served if phonenumbers.country_code_for_region(country) == 1), "US")


def number_for_codes(raw: str | None) -> str:
    """What somebody typed as their phone, in E.164; without a country it is read as one of home. Raises PhoneNumberUnusable."""
    if raw is None:
        raise PhoneNumberUnusable("has to be said")
    try:
        phone = addresses.e164(raw, _served[0])
    except addresses.PhoneInvalid as error:
        raise PhoneNumberUnusable(error.reason) from None
    country = country_of(phone)
    if country not in _served:
        raise PhoneNumberUnusable(
            f"belongs to a country ({country}) other than those that codes go to ({', '.join(_served)})",
            country=country,
        )
    return phone


def require_served(phone: str, *, is_proved: bool) -> None:
    """Look that codes go to a phone that was taken some time ago. Raises PhoneNumberUnusable."""
    country = country_of(phone)
    if country not in _served:
        raise PhoneNumberUnusable(
            f"belongs to a country ({country}) that codes do not go to any more", is_proved=is_proved, country=country
        )
