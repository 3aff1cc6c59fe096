"""What has to be answered with a code before an act goes on."""

from datetime import datetime

import strawberry

from domain.challenges import Challenged
from domain.models.columns import PhoneChannel


@strawberry.type(
    description="A code comes next: call sendSecurityCode, then the mutation that answers a challenge of this kind. After signIn that is"
    " verifyDevice."
)
class SecurityChallenge:
    """What is to be answered, and how."""

    token: str = strawberry.field(description="Give it to sendSecurityCode and to the mutation that answers.")
    phone: str = strawberry.field(description="Where codes go, masked; empty where phoneRequired.")
    phone_required: bool = strawberry.field(
        description="Whether sendSecurityCode has to be told a phone: an administrator took the old one away."
    )
    channels: list[PhoneChannel] = strawberry.field(description="How a code may be sent.")
    practice_access_code_required: bool = strawberry.field(
        description="Whether the answer needs the practice access code too."
    )
    expires_at: datetime = strawberry.field(description="Until when the token is good.")

    @classmethod
    def of(cls, challenged: Challenged) -> "SecurityChallenge":
        """From the domain's record."""
        return cls(
            token=challenged.token,
            phone=challenged.phone,
            phone_required=challenged.phone_required,
            channels=list(challenged.channels),
            practice_access_code_required=challenged.practice_access_code_required,
            expires_at=challenged.expires_at,
        )
