"""Changing one's own password."""

from typing import Annotated

import strawberry

from domain import password_changes
from graph.context import Info
from graph.errors import CredentialsIncorrect, PasswordRejected, TooManyAttempts
from graph.types import User


@strawberry.input(description="The password in use, and the one to use from now on.")
class ChangePasswordInput:
    """Old and new."""

    current_password: str = strawberry.field(description="The password in use.")
    new_password: str = strawberry.field(description="15 to 128 characters of any kind.")


ChangePasswordResult = Annotated[
    User | CredentialsIncorrect | PasswordRejected | TooManyAttempts,
    strawberry.union("ChangePasswordResult", description="What changePassword answers."),
]


@strawberry.type
class PasswordMutation:
    """Root fields."""

    @strawberry.mutation(
        description="Change one's own password. Every other session ends, and the user is told by mail."
    )
    async def change_password(
        self, info: Info, input: Annotated[ChangePasswordInput, strawberry.argument(description="Old and new.")]
    ) -> ChangePasswordResult:
        """Another one."""
        actor = info.context.actor
        member = actor.signed_in()
        return User.of(await password_changes.change(actor, input.current_password, input.new_password), member)
