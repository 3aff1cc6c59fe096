"""What is done in a large installation, so that every statement of it runs: requests, the worker's loop, the schedule, a scrape."""

from collections.abc import Awaitable, Callable

from domain import (
    audit_findings,
    channel_pauses,
    code_budgets,
    contents,
    database,
    delivery_reports,
    mail_reports,
    outbox,
    queue_health,
    recovery_codes,
    voice_fallback,
)
from domain.channel_pauses import Refusal
from domain.delivery_faults import Fault
from domain.mail_reports import MailReport, Verdict
from domain.models.columns import Channel, DeliveryStatus
from domain.outbox import Claimed, Outcome
from domain.settings import Settings
from tests import filler
from tests.conftest import Clock
from tests.refusals.scene import Scene, document
from tests.test_replays import TABLE
from tests.world import Json, World
from workers import housekeeping

CLAIMED = 20
WHOLE_TILE = """
    query ($search: String) { usersTile {
        activeCount invitedCount inactiveCount dormantCount notice { kind } practiceAccessCode { code }
        all: users(first: 50) { totalCount nodes { ...everything } }
        back: users(last: 50) { totalCount nodes { email } }
        some: users(filter: { status: [ACTIVE], accessLevel: [PROVIDER] }) { totalCount nodes { email } }
        dormant: users(filter: { isDormant: true }) { totalCount nodes { email } }
        found: users(filter: { search: $search }) { totalCount nodes { email } }
    } }
    fragment everything on User {
        id email recoveryCodesLeft sessions { id } devices { id } loginSettings { sessionHours }
        invitation { state addressBouncedAt delivery { status tries { number } } } endedInvitations { id }
    }
"""
WHOLE_PRACTICE = """
    query ($grace: ID!) {
        viewer { id sessions { id } devices { id } recoveryCodesLeft }
        practice { id name deliveryHealth { channel } loginSettings { sessionHours } subscription { status } }
        practiceAccessCode { code }
        auditVerification { isIntact }
        auditLog(first: 50) { nodes { id } pageInfo { hasNextPage endCursor } }
        about: auditLog(first: 50, filter: { userId: $grace }) { nodes { id } }
        deliveries(first: 50) { nodes { id tries { number } } pageInfo { hasNextPage endCursor } }
        failed: deliveries(first: 50, filter: { status: [FAILED], userId: $grace }) { nodes { id } }
    }
"""
NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"


class BigScene(Scene):
    """As in the tests of refusals, without looking at every row before and after."""

    async def do(self, mutation: str, values: Json | None = None, *, token: str | None = None) -> Json:
        """Call a mutation; what it answers."""
        variables = {} if values is None else {"input": values}
        result: Json = (await self.api.query(document(mutation), variables, token=token))[mutation]
        return result


async def scene(world: World, clock: Clock) -> Scene:
    """Another practice, all that was arranged before put out of its way."""
    await database.execute(
        "UPDATE users SET email = id || '@aside.example', email_canonical = id || '@aside.example' WHERE email LIKE '%clinic.example'"
        " OR email LIKE '%new.example' OR email LIKE '%practice.example'"
    )
    await database.execute(
        "UPDATE sign_ups SET email_canonical = id || '@aside.example' WHERE email_canonical LIKE '%practice.example'"
        " OR email_canonical LIKE '%clinic.example'"
    )
    await database.execute("DELETE FROM budgets WHERE key NOT LIKE 'filler%'")
    await database.execute("DELETE FROM guess_counters WHERE key NOT LIKE '%:filler%'")
    await database.execute("DELETE FROM bounced_addresses WHERE email_canonical NOT LIKE '%@filler.example'")
    return BigScene(world, world.api, world.mail, clock, await world.practice())


async def send_every_mutation_again(world: World, clock: Clock) -> None:
    """Each mutation, once more, and after its successor."""
    for mutation, row in TABLE.items():
        if mutation == "signOut":  # has no input and no selection
            continue
        there = await scene(world, clock)
        sent = await row.arrange(there)
        for _ in range(2):
            await there.do(mutation, sent.values, token=sent.session)
        if sent.then is not None:
            await sent.then()


async def look_at_everything(world: World, clock: Clock) -> None:
    """Every query, as an administrator of a practice with many people."""
    there = await scene(world, clock)
    grace = await there.staff()
    await filler.write((filler.MEMBERS, 1, filler.MEMBERS_OF_ONE, there.practice.administrator.row_id))
    ask = there.api.query
    await ask(WHOLE_TILE, {"search": "zoe"}, token=there.admin)
    await ask(WHOLE_TILE, {"search": "no such name"}, token=there.admin)
    found = await ask(WHOLE_PRACTICE, {"grace": grace.id}, token=there.admin)
    user = await there.invited()
    node = "query ($id: ID!) { node(id: $id) { ... on User { invitation { id delivery { id } } sessions { id } devices { id } } } }"
    ids = (await ask(node, {"id": user}, token=there.admin))["node"]["invitation"]
    own = (await ask(node, {"id": grace.id}, token=there.admin))["node"]
    for one in (
        ids["id"],
        ids["delivery"]["id"],
        own["sessions"][0]["id"],
        own["devices"][0]["id"],
        found["practice"]["id"],
        found["auditLog"]["nodes"][0]["id"],
    ):
        assert (await ask(NODE, {"id": one}, token=there.admin))["node"] is not None, one
    link = await world.link("new@clinic.example")
    await ask("query ($t: String!) { invitation(token: $t) { practiceName } }", {"t": link})
    await ask(
        "query ($t: String!) { invitation(token: $t) { practiceName } }", {"t": world.mail.sent[-1].content.link_code}
    )
    token = await world.challenged(grace)
    await world.code(token, grace.phone)
    await ask("query ($t: String!) { codeDelivery(token: $t) { status } }", {"t": token})
    for _ in range(6):
        await there.api.do("verifyDevice", {"challengeToken": token, "code": "000000"})
    await ask("mutation { signOut }", token=grace.session)


async def decline(world: World, clock: Clock) -> None:
    """Somebody does not know the practice."""
    there = await scene(world, clock)
    await there.api.do("declineInvitation", {"token": await there.link(), "unknownPractice": True})


async def take_turns(world: World, clock: Clock) -> None:
    """Acts on people and codes that come after one another."""
    there = await scene(world, clock)
    do, admin = there.api.do, there.admin
    user = await there.invited()
    await do("changeAccessLevel", {"userId": user, "accessLevel": "BILLING"}, token=admin)
    await do("deactivate", {"userId": user}, token=admin)
    await do("reactivate", {"userId": user}, token=admin)
    row = {"firstName": "A", "lastName": "B", "accessLevel": "BILLING", "addressRepaired": True}
    await do("invite", {"users": [row | {"email": "repaired@clinic.example"}]}, token=admin)
    rotate = "mutation ($end: Boolean!) { rotatePracticeAccessCode(input: { endPrevious: $end }) { __typename } }"
    for end in (False, True):
        await there.api.query(rotate, {"end": end}, token=admin)


async def keep_out(world: World, clock: Clock) -> None:
    """A session is used from where the practice does not allow it."""
    there = await scene(world, clock)
    await database.execute(
        "INSERT INTO login_settings (id, practice_id, allowed_networks, updated_at)"
        """ SELECT gen_random_uuid(), practice_id, '["203.0.113.0/24"]', clock_now() FROM users WHERE id = $1""",
        there.practice.administrator.row_id,
    )
    await there.api.post("{ viewer { id } }", token=there.admin)


async def use_a_recovery_code(world: World, clock: Clock) -> None:
    """Instead of a phone."""
    there = await scene(world, clock)
    grace = await there.staff()
    for code in (f"{'A' * 15}B", grace.recovery_codes[0]):
        token = await world.challenged(grace)
        await there.api.do("verifyDevice", {"challengeToken": token, "code": code})
    assert await recovery_codes.left(grace.row_id) == 9


async def work(world: World, clock: Clock) -> None:
    """The worker's loop, with many messages that are due."""
    await filler.write((filler.MAKE_DUE,))
    await database.execute("ANALYZE deliveries")
    lane, channel = outbox.LANE_BULK, Channel.EMAIL
    assert await outbox.seconds_until_due([lane], [channel]) == 0
    rows = await claim()
    await contents.load(rows)
    await outbox.renew([rows[0].owner], lease_seconds=60)
    assert await outbox.begin(rows[0], "FIRST") == 1
    await outbox.answered(rows[0])
    refusals = [
        Refusal(delivery_id=row.id, channel=channel, code="554", domain="a.example", problem="No.") for row in rows[:3]
    ]
    *bounced, failed, retried = rows[:5]
    taken = rows[5:]
    await outbox.settle([Outcome(row=row, status=DeliveryStatus.SENT, recipient="a@filler.example") for row in taken])
    await outbox.settle(
        [Outcome(row=row, status=DeliveryStatus.BOUNCED, recipient="b@filler.example", problem="-") for row in bounced]
    )
    await outbox.settle([Outcome(row=failed, status=DeliveryStatus.FAILED, refusal=refusals[0])])
    await outbox.settle([Outcome(row=retried, status=DeliveryStatus.RETRYING, retry_after_seconds=60, problem="-")])
    await channel_pauses.note_refused(refusals)
    assert await channel_pauses.take_probe(channel)
    await claim(since=rows[-1].due_at)
    # Workers that died: their leases run out.
    await clock.forward(minutes=2)
    assert len(await claim()) <= outbox.SUSPECTS_TOGETHER
    for _ in range(3):
        await outbox.tell_waiting(lane, channel, "It is refused.")
    for verdict in Verdict:
        await mail_reports.take(
            MailReport(delivery_id=taken[0].id, verdict=verdict, problem="-", fault=Fault.UNKNOWN),
            event_id=f"event:{verdict}",
        )


async def claim(**options: object) -> list[Claimed]:
    """Some of the mails in the lane that has most."""
    return await outbox.claim(
        outbox.LANE_BULK,
        at_most=CLAIMED,
        lease_seconds=60,
        channels=[Channel.EMAIL],
        **options,  # type: ignore[arg-type]  # by their names
    )


async def follow_a_text(world: World, clock: Clock) -> None:
    """A text that fails is followed by a call, by the schedule and by the carrier's word."""
    there = await scene(world, clock)
    grace = await there.staff()
    for is_told in (True, False):
        await clock.forward(minutes=2)
        await world.code(await world.challenged(grace), grace.phone)
        sent = world.mail.sent[-1].row.id
        if is_told:
            await delivery_reports.take(sent, DeliveryStatus.FAILED, "No.")
            await world.mail.run()
            await delivery_reports.take(world.mail.sent[-1].row.id, DeliveryStatus.DELIVERED, None)
        else:
            await database.execute("UPDATE deliveries SET status = 'FAILED' WHERE id = $1", sent)
            assert await voice_fallback.run_due(is_reported=True) == 1


async def keep_the_schedule(settings: Settings) -> None:
    """Every job; `filler.EXPIRED` gives each of them something to do."""
    for job in housekeeping.jobs(settings):
        await job.work()


async def scrape() -> None:
    """What is looked up when somebody reads the metrics."""
    looks: tuple[Callable[[], Awaitable[object]], ...] = (
        queue_health.waiting,
        queue_health.awaiting_key,
        channel_pauses.current,
        mail_reports.unreadable_returns,
        code_budgets.shares,
        audit_findings.standing,
    )
    for look in looks:
        await look()


ACTS: dict[str, Callable[[World, Clock], Awaitable[None]]] = {
    "send every mutation again": send_every_mutation_again,
    "look at everything": look_at_everything,
    "decline": decline,
    "take turns": take_turns,
    "keep out": keep_out,
    "use a recovery code": use_a_recovery_code,
    "follow a text": follow_a_text,
}
