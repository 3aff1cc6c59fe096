"""Where somebody is signed in, and the devices that are known."""

from typing import Annotated

import strawberry

from domain import signed_in_places
from graph.context import Info
from graph.errors import NotFound
from graph.ids import row_id


@strawberry.input(description="Which session to end.")
class EndSessionInput:
    """Which."""

    session_id: strawberry.ID = strawberry.field(description="The session.")


@strawberry.type(description="The session has ended.")
class SessionEnded:
    """Ended."""

    session_id: strawberry.ID = strawberry.field(description="Which one.")


@strawberry.input(description="Which device to forget.")
class ForgetDeviceInput:
    """Which."""

    device_id: strawberry.ID = strawberry.field(description="The device.")


@strawberry.type(description="The device is no longer trusted, and the sessions on it have ended.")
class DeviceForgotten:
    """Forgotten."""

    device_id: strawberry.ID = strawberry.field(description="Which one.")


EndSessionResult = Annotated[
    SessionEnded | NotFound, strawberry.union("EndSessionResult", description="What endSession answers.")
]
ForgetDeviceResult = Annotated[
    DeviceForgotten | NotFound, strawberry.union("ForgetDeviceResult", description="What forgetDevice answers.")
]


@strawberry.type
class SessionMutation:
    """Root fields."""

    @strawberry.mutation(description="End a session: one's own, or as an administrator anyone's in the practice.")
    async def end_session(
        self, info: Info, input: Annotated[EndSessionInput, strawberry.argument(description="Which.")]
    ) -> EndSessionResult:
        """Out there."""
        actor = info.context.actor
        actor.signed_in()
        await signed_in_places.end_session(actor, row_id("Session", input.session_id))
        return SessionEnded(session_id=input.session_id)

    @strawberry.mutation(
        description="Trust a device no longer and end the sessions on it, but not the one that asks. One's own, or as an administrator"
        " anyone's in the practice."
    )
    async def forget_device(
        self, info: Info, input: Annotated[ForgetDeviceInput, strawberry.argument(description="Which.")]
    ) -> ForgetDeviceResult:
        """A code next time."""
        actor = info.context.actor
        actor.signed_in()
        await signed_in_places.forget_device(actor, row_id("Device", input.device_id))
        return DeviceForgotten(device_id=input.device_id)
