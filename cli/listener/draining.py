"""The time between being told to stop and stopping, in which load balancers learn that no more requests should come here."""

from domain.readiness import NotReady


class Draining:
    """Whether the process is about to stop. It serves as before meanwhile, and its health check says that it does not want more."""

    def __init__(self) -> None:
        self.has_begun = False

    async def check(self) -> None:
        """Raises NotReady once it has begun."""
        if self.has_begun:
            raise NotReady("The process is about to stop.")
