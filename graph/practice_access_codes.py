"""The practice access code, for administrators."""

from datetime import datetime
from typing import Annotated

import strawberry

from domain import practice_access_codes
from domain.practice_access_codes import CurrentCode
from graph.context import Info
from graph.errors import SignInAgain


@strawberry.type(description="What an administrator tells new staff by voice, and never writes.")
class PracticeAccessCode:
    """The current code."""

    code: str = strawberry.field(description="Ten letters and digits.")
    issued_at: datetime = strawberry.field(description="Since when it is the one.")
    rotates_at: datetime | None = strawberry.field(description="When it will be replaced by itself; null when never.")
    previous_valid_until: datetime | None = strawberry.field(
        description="Until when the one before it is still taken; null when it no longer is."
    )

    open_invitation_count: int = strawberry.field(
        description="People who are invited and have not finished; they will be asked for a code."
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


@strawberry.type
class PracticeAccessCodeMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Replace the code at once and mail the new one to every active administrator; the old one is taken for another day."
        " Administrators only, who signed in at most ten minutes ago."
    )
    async def rotate_practice_access_code(self, info: Info) -> RotatePracticeAccessCodeResult:
        """A fresh code."""
        return PracticeAccessCode.of(await practice_access_codes.rotate(info.context.actor))
