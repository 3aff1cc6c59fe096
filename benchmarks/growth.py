"""What operations cost as an installation grows: `.venv/bin/python -m benchmarks.growth [LARGEST]`.

It fills a database step by step, up to LARGEST people (2,000,000) with half as many waiting messages, and times each operation at each
step: the best of five, on one connection, on a PostgreSQL server of its own. What grows is the number of other people: the practice that
is looked at always has a hundred. A second table says what depends on the size of the practice.
"""

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

from domain import (
    audit_log,
    database,
    deliveries,
    invitation_ends,
    inviting,
    mail_reports,
    outbox,
    practice_access_codes,
    queue_health,
    retention,
    secrets,
    sessions,
    sign_in,
    subscription_notices,
    users,
)
from domain.actors import Actor, Member
from domain.inviting import Invitee
from domain.models.columns import AccessLevel, Channel, DeliveryStatus
from domain.outbox import Claimed, Kind, Message, Outcome
from domain.users import Filter
from tests import conftest, filler
from tests.servers import postgres

STEPS = (10, 1_000, 100_000, 2_000_000)
ROUNDS = 5
CHUNK = 100_000
CLAIMED = 100
INVITED = 200
SMALL, LARGE = 100, 5_000  # people in the practice that is looked at
ADDRESS = "192.0.2.1"

Operation = Callable[[], Awaitable[object]]


class Bench:
    """The operations, with what one round leaves for the next."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.actor = Actor(ip_address=ADDRESS, member=member)
        self.claimed: list[Claimed] = []
        self.invited = 0

    async def invite(self) -> None:
        """200 people whom nobody knows, in one mutation."""
        await database.execute("DELETE FROM budgets WHERE key NOT LIKE 'filler%'")
        self.invited += INVITED
        rows = [
            Invitee("Ann", "Bell", f"i{self.invited + n}@new.example", AccessLevel.PROVIDER) for n in range(INVITED)
        ]
        await inviting.invite(self.actor, rows)

    async def enqueue(self) -> None:
        """200 messages in one transaction."""
        now = await database.now()
        message = Message(kind=Kind.INVITATION, subject_id=UUID(int=0), expires_at=now)
        async with database.transaction():
            await outbox.queue(*(message for _ in range(INVITED)))

    async def claim(self) -> None:
        """A batch of the lane in which everything waits."""
        self.claimed = await outbox.claim(
            outbox.LANE_BULK, at_most=CLAIMED, lease_seconds=3600, channels=[Channel.EMAIL]
        )

    async def settle(self) -> None:
        """The batch that was claimed."""
        taken = [Outcome(row=row, status=DeliveryStatus.SENT, recipient="a@new.example") for row in self.claimed]
        await outbox.settle(taken)

    async def search(self) -> None:
        """A page of what fits, and how many those are."""
        await self.page(Filter(search="zoe"))
        await users.total(self.actor, Filter(search="zoe"))

    async def page(self, wanted: Filter | None = None) -> users.Page:
        """The first fifty."""
        return await users.page(self.actor, wanted or Filter(), size=50, after=None, before=None, backwards=False)

    async def counts(self) -> None:
        """By status, and who is dormant."""
        await users.counts(self.member)
        await users.dormant(self.member)

    async def scrape(self) -> None:
        """What the metrics look up about messages."""
        await queue_health.waiting()
        await mail_reports.unreadable_returns()

    def operations(self) -> dict[str, Operation]:
        """By name, in the order in which they run."""
        return {
            "sign-in look-up": lambda: sign_in._account("u3@filler.example"),  # noqa: SLF001 -- without the hash, which takes most of it
            "session look-up": lambda: sessions.authenticate("session0", ADDRESS),
            f"invite of {INVITED}": self.invite,
            "tile page": self.page,
            "tile counts": self.counts,
            "search": self.search,
            f"enqueuing {INVITED}": self.enqueue,
            f"claim of {CLAIMED}": self.claim,
            f"settling {CLAIMED}": self.settle,
            "seconds until due": lambda: outbox.seconds_until_due([outbox.LANE_BULK], [Channel.EMAIL]),
            "messages nobody sent": outbox.end_overdue,
            "scrape": self.scrape,
            "retention pass": retention.purge,
            "invitations about to end": invitation_ends.remind_due,
            "codes to replace (practices)": practice_access_codes.rotate_due,
            "invitation summaries (practices)": invitation_ends.summarize_due,
            "subscription notices (practices)": subscription_notices.send_due,
            "audit page": lambda: audit_log.page(self.actor, audit_log.Filter(), size=50, after=None),
            "deliveries page": lambda: deliveries.page(self.actor, deliveries.Filter(), size=50, after=None),
            "delivery look-up": self.look_up,
        }

    async def look_up(self) -> None:
        """One message by its id."""
        await deliveries.find(self.actor, self.member.user_id)


# What goes through the practices there are, once a minute: said in its name. The rest does not grow.
async def measured(bench: Bench) -> dict[str, float]:
    """The best of the rounds of each operation, in milliseconds."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, operation in bench.operations().items():
            began = time.perf_counter()
            await operation()
            taken = (time.perf_counter() - began) * 1000
            best[name] = min(taken, best.get(name, math.inf))
    return best


async def fill(first: int, last: int) -> None:
    """People with these numbers, and half as many messages that wait, all of them due."""
    for number in range(first, last + 1, CHUNK):
        end = min(number + CHUNK - 1, last)
        await filler.fill(number, end)
        await filler.write((filler.WAITING, number // 2, (end + 1) // 2 - 1, -3600.0))
        print(".", end="", file=sys.stderr, flush=True)
    await database.execute("VACUUM ANALYZE")


async def member() -> Member:
    """The filler's first administrator, signed in."""
    found = await sessions.authenticate("session0", ADDRESS)
    assert isinstance(found, Member)
    return found


async def add_members(first: int, last: int) -> None:
    """More people for the practice that is looked at."""
    await filler.write((filler.MEMBERS, first, last, (await member()).user_id))


def table(columns: list[str], found: list[dict[str, float]]) -> str:
    """Markdown, with what the last column is of the first."""
    lines = [
        f"| milliseconds | {' | '.join(columns)} | × |",
        f"|{'---|' * (len(columns) + 2)}",
    ]
    for name in found[0]:
        figures = [one[name] for one in found]
        lines.append(
            f"| {name} | {' | '.join(f'{figure:.2f}' for figure in figures)} | {figures[-1] / figures[0]:.1f} |"
        )
    return "\n".join(lines)


async def main(server: str, largest: int) -> None:
    """Print both tables."""
    await conftest.make_template(server)
    secrets.use_keys(tuple(key.encode() for key in conftest.TEST_KEYS))
    await database.connect(f"{await conftest.fresh_database(server)}?command_timeout=3600")
    sizes = [*(step for step in STEPS if step < largest), largest]
    found: list[dict[str, float]] = []
    done = 0
    for size in sizes:
        await fill(done, size - 1)
        if not done:
            await add_members(1, SMALL)
        done = size
        found.append(await measured(Bench(await member())))
    print(f"\nPeople; a practice of {SMALL} among them, and half as many messages wait\n")
    print(table([f"{size:,}" for size in sizes], found))
    await add_members(SMALL + 1, LARGE)
    await database.execute("VACUUM ANALYZE users")
    print(f"\nPeople in the practice, of {largest:,} in all\n")
    print(table([f"{SMALL:,}", f"{LARGE:,}"], [found[-1], await measured(Bench(await member()))]))
    await database.disconnect()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("largest", nargs="?", type=int, default=STEPS[-1], help="people at the last step")
    options = parser.parse_args()
    with postgres.running() as url:
        asyncio.run(main(url, options.largest))
