"""Setting how and when staff may sign in."""

from typing import Annotated

import strawberry

from domain import login_settings_changes
from domain.login_settings_input import CLIENT_NAMES, Changes, RawHours
from domain.models.columns import PhoneChannel, PracticeAccessCodePolicy, SecurityCodePolicy, Weekday
from graph.context import Info
from graph.errors import InputInvalid, NotFound, SignInAgain
from graph.ids import row_id
from graph.login_settings_types import FROM, UNTIL, LoginSettings


@strawberry.input(description="A range of the week, by the clock of the practice's time zone. Ranges may overlap.")
class AllowedHoursInput:
    """One range."""

    day: Weekday = strawberry.field(description="The day on which it begins.")
    from_: str = strawberry.field(name="from", description=FROM)
    until: str = strawberry.field(description=UNTIL)


@strawberry.input(
    description="A field left out stays as it is. For a user, null goes back to the practice's; for the practice, to the product's default."
)
class UpdateLoginSettingsInput:
    """Whose, and what."""

    user_id: strawberry.ID | None = strawberry.field(
        default=strawberry.UNSET, description="Whose they are; left out or null: the practice's defaults."
    )
    security_code: SecurityCodePolicy | None = strawberry.field(
        default=strawberry.UNSET, description="When a code to the phone is asked for."
    )
    practice_access_code: PracticeAccessCodePolicy | None = strawberry.field(
        default=strawberry.UNSET, description="When the practice access code is asked for."
    )
    trusted_device_days: int | None = strawberry.field(
        default=strawberry.UNSET, description="0 to 90; fewer days hold for devices that are known already."
    )
    idle_timeout_minutes: int | None = strawberry.field(
        default=strawberry.UNSET, description="5 to 60; holds for open sessions too."
    )
    session_hours: int | None = strawberry.field(
        default=strawberry.UNSET, description="1 to 24; fewer hours hold for open sessions too."
    )
    allowed_hours: list[AllowedHoursInput] | None = strawberry.field(
        default=strawberry.UNSET, description="At most 42 ranges. Empty: any time."
    )
    allowed_networks: list[str] | None = strawberry.field(
        default=strawberry.UNSET,
        description="At most 50, in CIDR, IPv4 and IPv6; an address alone is a network of one. Empty: anywhere.",
    )
    phone_channels: list[PhoneChannel] | None = strawberry.field(
        default=strawberry.UNSET, description="How security codes may be sent; at least one."
    )
    voice_fallback: bool | None = strawberry.field(
        default=strawberry.UNSET,
        description="Whether a text that does not arrive is followed by a call with the same code; where VOICE is among the channels.",
    )


UpdateLoginSettingsResult = Annotated[
    LoginSettings | NotFound | InputInvalid | SignInAgain,
    strawberry.union("UpdateLoginSettingsResult", description="What updateLoginSettings answers."),
]


@strawberry.type
class LoginSettingsMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Set how and when staff may sign in, for the practice or for one user; it holds from everybody's next request on, and"
        " answers with what is in force there now. Refused when no administrator could come in any more. Administrators only, who signed in"
        " at most ten minutes ago."
    )
    async def update_login_settings(
        self, info: Info, input: Annotated[UpdateLoginSettingsInput, strawberry.argument(description="What.")]
    ) -> UpdateLoginSettingsResult:
        """Who may come in, and when."""
        actor = info.context.actor
        actor.administrator()
        user_id = row_id("User", input.user_id) if isinstance(input.user_id, str) else None
        return LoginSettings.of(await login_settings_changes.update(actor, user_id, _changes(input)))


def _changes(given: UpdateLoginSettingsInput) -> Changes:
    values = {name: getattr(given, name) for name in CLIENT_NAMES}
    if values["allowed_hours"]:
        values["allowed_hours"] = [RawHours(one.day, one.from_, one.until) for one in values["allowed_hours"]]
    changes: Changes = {}
    changes.update({name: value for name, value in values.items() if value is not strawberry.UNSET})  # type: ignore[typeddict-item]  # the same names
    return changes
