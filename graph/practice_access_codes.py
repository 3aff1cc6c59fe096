"""The practice access code, for administrators."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import practice_access_code_settings, practice_access_codes
from domain.practice_access_code_settings import Change, CodeSettings
from domain.practice_access_codes import CurrentCode
from graph.context import Info
from graph.errors import InputInvalid, SignInAgain


@strawberry.type(description="What the practice decides about its access code.")
class PracticeAccessCodeSettings:
    """How long a code lives."""

    rotation_days: int = strawberry.field(
        description="After how many days the code is replaced by itself; 0 for never."
    )
    grace_hours: int = strawberry.field(description="How many hours the code before is still taken after a rotation.")
    rotate_on_departure: bool = strawberry.field(
        description="Whether the code is replaced at once, and the one before not taken any longer, when somebody is deactivated or"
        " demoted who could see it."
    )

    @classmethod
    def of(cls, record: CodeSettings) -> "PracticeAccessCodeSettings":
        """From the domain's record."""
        return cls(
            rotation_days=record.rotation_days,
            grace_hours=record.grace_hours,
            rotate_on_departure=record.rotate_on_departure,
        )


@strawberry.type(description="What an administrator tells new staff by voice, and never writes.")
class PracticeAccessCode:
    """The current code."""

    code: str = strawberry.field(description="Ten letters and digits.")
    issued_at: datetime = strawberry.field(description="Since when it is the one.")
    rotates_at: datetime | None = strawberry.field(description="When it will be replaced by itself; null when never.")
    previous_valid_until: datetime | None = strawberry.field(
        description="Until when an earlier code is still taken at the latest; null when none is. Each keeps the grace that it was promised."
    )

    open_invitation_count: int = strawberry.field(
        description="People who are invited and have not finished; they will be asked for a code."
    )
    rotation_advised: bool = strawberry.field(
        description="Whether somebody knows the code who could see it as an administrator and is none any more: rotate it."
    )
    settings: PracticeAccessCodeSettings = strawberry.field(
        description="When it is replaced, and for how long it lives on."
    )

    @classmethod
    def of(cls, record: CurrentCode) -> "PracticeAccessCode":
        """From the domain's record."""
        return cls(
            code=record.code,
            issued_at=record.issued_at,
            rotates_at=record.rotates_at,
            previous_valid_until=record.previous_valid_until,
            open_invitation_count=record.open_invitations,
            rotation_advised=record.rotation_advised,
            settings=PracticeAccessCodeSettings.of(record.settings),
        )


@strawberry.type
class PracticeAccessCodeQuery:
    """Root fields."""

    @strawberry.field(
        description="Settings > Users. Administrators only (FORBIDDEN to everyone else); each look is audited."
    )
    async def practice_access_code(self, info: Info) -> PracticeAccessCode:
        """The code, for whoever may see it."""
        return PracticeAccessCode.of(await practice_access_codes.current(info.context.actor))


RotatePracticeAccessCodeResult = Annotated[
    PracticeAccessCode | SignInAgain,
    strawberry.union("RotatePracticeAccessCodeResult", description="What rotatePracticeAccessCode answers."),
]


@strawberry.input(description="What becomes of the codes before.")
class RotatePracticeAccessCodeInput:
    """Whether they go at once."""

    end_previous: bool = strawberry.field(
        default=False,
        description="Whether no earlier code is taken any longer, as where one has fallen into the wrong hands. People whom it was told need"
        " the new one.",
    )


@strawberry.input(description="What to change. A field that is left out stays as it is.")
class UpdatePracticeAccessCodeSettingsInput:
    """How long a code lives."""

    rotation_days: int | None = strawberry.field(
        default=None, description="After how many days the code is replaced by itself: 1 to 365, or 0 for never."
    )
    grace_hours: int | None = strawberry.field(
        default=None, description="How many hours the code before is still taken after a rotation: 0 to 168."
    )
    rotate_on_departure: bool | None = strawberry.field(
        default=None,
        description="Whether to replace the code at once when somebody is deactivated or demoted who could see it.",
    )


UpdatePracticeAccessCodeSettingsResult = Annotated[
    PracticeAccessCodeSettings | InputInvalid | SignInAgain,
    strawberry.union(
        "UpdatePracticeAccessCodeSettingsResult", description="What updatePracticeAccessCodeSettings answers."
    ),
]


@strawberry.type
class PracticeAccessCodeMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Replace the code at once and mail the new one to every active administrator; the old one is taken for as long as the"
        " practice has set. Again within a minute in the same session, this answers the same code. Administrators only, who signed in at"
        " most ten minutes ago."
    )
    async def rotate_practice_access_code(
        self,
        info: Info,
        input: Annotated[
            RotatePracticeAccessCodeInput | None, strawberry.argument(description="What becomes of the codes before.")
        ] = None,
    ) -> RotatePracticeAccessCodeResult:
        """A fresh code."""
        end_previous = input is not None and input.end_previous
        return PracticeAccessCode.of(await practice_access_codes.rotate(info.context.actor, end_previous=end_previous))

    @strawberry.mutation(
        description="Set how often the code is replaced and how long the one before is taken. A code that is older than that is replaced"
        " within two minutes. Administrators only, who signed in at most ten minutes ago."
    )
    async def update_practice_access_code_settings(
        self,
        info: Info,
        input: Annotated[UpdatePracticeAccessCodeSettingsInput, strawberry.argument(description="What to change.")],
    ) -> UpdatePracticeAccessCodeSettingsResult:
        """As the practice likes."""
        wanted = Change(
            rotation_days=input.rotation_days,
            grace_hours=input.grace_hours,
            rotate_on_departure=input.rotate_on_departure,
        )
        return PracticeAccessCodeSettings.of(await practice_access_code_settings.change(info.context.actor, wanted))
