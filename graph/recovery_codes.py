"""Codes that stand in for the phone."""

from typing import Annotated

import strawberry

from domain import recovery_codes
from graph.context import Info
from graph.errors import LimitReached, SignInAgain


@strawberry.type(description="Ten recovery codes. Those from before are no longer good.")
class RecoveryCodes:
    """Shown once."""

    codes: list[str] = strawberry.field(
        description="Each answers a challenge once in place of a code from the phone. They are not shown again."
    )


RenewRecoveryCodesResult = Annotated[
    RecoveryCodes | SignInAgain | LimitReached,
    strawberry.union("RenewRecoveryCodesResult", description="What renewRecoveryCodes answers."),
]


@strawberry.type
class RecoveryCodeMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Make ten new recovery codes for oneself; those from before end at once, also when the answer gets lost. Needs a sign-in"
        " of the last ten minutes, and works ten times a day."
    )
    async def renew_recovery_codes(self, info: Info) -> RenewRecoveryCodesResult:
        """Ten new ones."""
        return RecoveryCodes(codes=list(await recovery_codes.renew(info.context.actor)))
