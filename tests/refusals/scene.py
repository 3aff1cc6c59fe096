"""Where refusals are driven: a practice with people at every stage, made as they are asked for; and documents that select all."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from uuid import uuid4

from graphql import (
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    build_schema,
    get_named_type,
    is_leaf_type,
)

from domain import database
from domain.budgets import HOUR_SECONDS
from graph import schema
from graph.ids import global_id
from tests.conftest import Clock
from tests.refusals.unchanged import everything
from tests.world import PASSWORD, Api, Json, Mail, Person, PracticeWorld, World

NEW_PASSWORD = "seven green kites over the bay"
WRONG_PAC = "XXXXXXXXXX"
QUIET_SECONDS = 300
NOBODY = global_id("User", uuid4())


@cache
def built() -> GraphQLSchema:
    """The schema."""
    return build_schema(schema.printed())


def refusals(mutation: str) -> list[GraphQLObjectType]:
    """The refusals in a mutation's union."""
    root = built().mutation_type
    assert root is not None
    union = get_named_type(root.fields[mutation].type)
    if not isinstance(union, GraphQLUnionType):
        return []
    return [kind for kind in union.types if any(one.name == "UserError" for one in kind.interfaces)]


def _selected(kind: GraphQLObjectType) -> str:
    """What a refusal says beside its message, under names of its own: two types may give one name two nullabilities."""
    parts = []
    for name, field in kind.fields.items():
        if name == "message":
            continue
        inner = get_named_type(field.type)
        below = "" if is_leaf_type(inner) else " { path message }" if inner.name == "InputProblem" else " { id }"
        parts.append(f"{kind.name}_{name}: {name}{below}")
    return f"... on {kind.name} {{ {' '.join(parts)} }}" if parts else ""


def document(mutation: str) -> str:
    """Calls a mutation and selects all that its refusals say."""
    root = built().mutation_type
    assert root is not None
    parts = " ".join(("... on UserError { message }", *(_selected(kind) for kind in refusals(mutation))))
    if not root.fields[mutation].args:
        return f"mutation {{ {mutation} {{ __typename {parts} }} }}"
    given = root.fields[mutation].args["input"].type
    return f"mutation M($input: {given}) {{ {mutation}(input: $input) {{ __typename {parts} }} }}"


class Scene:
    """One practice and what a test asks for in it."""

    def __init__(self, world: World, api: Api, mail: Mail, clock: Clock, practice: PracticeWorld) -> None:
        self.world, self.api, self.mail, self.clock, self.practice = world, api, mail, clock, practice

    @property
    def admin(self) -> str:
        """The administrator's session."""
        return self.practice.administrator.session

    async def do(self, mutation: str, values: Json | None = None, *, token: str | None = None) -> Json:
        """Call a mutation; what it answers, the names of fields without their type. A refusal must have changed nothing."""
        variables = {} if values is None else {"input": values}
        before = await everything()
        answer = await self.api.post(document(mutation), variables, token=token)
        assert "errors" not in answer, answer
        result: Json = answer["data"][mutation]
        if result["__typename"] in {kind.name for kind in refusals(mutation)}:
            assert await everything() == before, f"{mutation} left something behind for {result['__typename']}"
        return {name.rpartition("_")[2] if name != "__typename" else name: value for name, value in result.items()}

    async def staff(self, email: str = "grace@clinic.example", access_level: str = "PROVIDER") -> Person:
        """Somebody who has joined."""
        return await self.world.joined(self.practice, email, access_level)

    async def invited(self, email: str = "new@clinic.example", access_level: str = "PROVIDER") -> str:
        """Somebody who was invited; the id."""
        return await self.world.invite(self.practice, email, access_level)

    async def link(self, email: str = "new@clinic.example") -> str:
        """Somebody who was invited; the link's token."""
        await self.invited(email)
        return await self.world.link(email)

    async def type_codes(self, mutation: str, email: str) -> Json:
        """Somebody gets the code of a link wrong ten times and then right; the last answer."""
        code = (await self.mail.latest(email)).content.link_code
        last = "A" if code[-1] != "A" else "C"
        for _ in range(10):
            await self.do(mutation, {"token": code[:-1] + last})
        return await self.do(mutation, {"token": code})

    async def enrolled(self) -> str:
        """Somebody who has given link and access code; the enrollment's token."""
        return await self.world.enrolled(self.practice, "new@clinic.example")

    async def proved(self) -> str:
        """Somebody who has proved a phone too."""
        token = await self.enrolled()
        await self.world.proved(token)
        return token

    async def dead_invitation(self, email: str = "new@clinic.example") -> str:
        """The message of an invitation that bounced a minute ago; its id."""
        await self.invited(email)
        await self.mail.run()
        await self.clock.forward(seconds=61)
        rows = await database.fetch(
            "UPDATE deliveries d SET status = 'BOUNCED', problem = 'Nobody is there.' FROM users u"
            " WHERE u.id = d.user_id AND u.email = $1 AND d.kind = 'invitation' RETURNING d.id",
            email,
        )
        return global_id("Delivery", rows[0]["id"])

    async def lapse(self) -> None:
        """The subscription is over."""
        await database.execute("UPDATE subscriptions SET status = 'EXPIRED'")

    async def settings(self, column: str, value: str) -> None:
        """Set something for the whole practice, past every rule of who may."""
        await database.execute(
            f"INSERT INTO login_settings (id, practice_id, {column}, updated_at)"
            " SELECT gen_random_uuid(), id, $1, clock_now() FROM practices",
            value,
        )

    async def close(self, kind: str) -> None:
        """Keep everybody out in one of three ways, named as its refusal."""
        if kind == "SubscriptionLapsed":
            await self.lapse()
        elif kind == "OutsideAllowedHours":
            day = f"{await database.now() + timedelta(days=3):%A}".upper()  # in no time zone is it today
            await self.settings("allowed_hours", json.dumps([{"day": day, "from": "03:00", "until": "04:00"}]))
        else:
            await self.settings("allowed_networks", '["203.0.113.0/24"]')

    async def use_up(self, key: str, amount: int) -> None:
        """A budget whose key begins like this has been used; the window was opened by a call before."""
        assert await database.execute("UPDATE budgets SET used = $2 WHERE key LIKE $1 || '%'", key, amount) > 0

    async def lock(self, key: str) -> None:
        """A counter takes no guesses for an hour."""
        await database.execute(
            "INSERT INTO guess_counters (key, failures, locks, locked_until, updated_at)"
            " VALUES ($1, 10, 1, clock_now() + interval '1 hour', clock_now())",
            key,
        )


async def away_from_the_end_of_a_window(clock: Clock) -> None:
    """Let time pass to the next hour where little of this one is left.

    Allowances are counted in hours and days that begin at fixed moments: one that a driver has used up must not begin anew
    before it is asked for.
    """
    passed = (await database.now()).timestamp() % HOUR_SECONDS
    if passed > HOUR_SECONDS - QUIET_SECONDS:
        await clock.forward(seconds=HOUR_SECONDS - passed + 1)


async def made(world: World, api: Api, mail: Mail, clock: Clock) -> Scene:
    """A scene, at a quiet moment."""
    await away_from_the_end_of_a_window(clock)
    return Scene(world, api, mail, clock, await world.practice())


Driver = Callable[[Scene], Awaitable[Json]]

__all__ = [
    "NEW_PASSWORD",
    "NOBODY",
    "PASSWORD",
    "WRONG_PAC",
    "Driver",
    "Scene",
    "built",
    "document",
    "made",
    "refusals",
]
