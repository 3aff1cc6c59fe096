"""People of many practices who wait for a code, each at the point where the next request sends it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import httpx

from domain import secrets
from domain.models.columns import new_nonce, uuid7
from tests.faults.scene import HASH, KEY_ID, KEYS
from tests.world import Json, document

TIMEOUT_SECONDS = 90.0


@dataclass(frozen=True)
class Waiting:
    """One of them. mutation: which sends the code. values: its input."""

    mutation: str
    values: Json


async def staff(url: str, count: int) -> list[Waiting]:
    """So many people who sign in on a new device, each of another practice. url: of the database."""
    ids = [(uuid7(), uuid7(), uuid7()) for _ in range(count)]
    tokens = [secrets.new_token() for _ in ids]
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.executemany(
                "INSERT INTO practices (id, name, specialty, phone, time_zone, created_at)"
                " VALUES ($1, 'Elm', 'Surgery', '+12025550100', 'UTC', clock_now())",
                [(practice,) for practice, _, _ in ids],
            )
            await connection.executemany(
                "INSERT INTO subscriptions (practice_id, plan, status, trial_ends_at, updated_at)"
                " VALUES ($1, 'standard', 'TRIALING', clock_now() + interval '14 days', clock_now())",
                [(practice,) for practice, _, _ in ids],
            )
            await connection.executemany(
                "INSERT INTO users (id, practice_id, first_name, last_name, sort_name, email, email_canonical, holds_email, access_level,"
                " status, phone, phone_verified_at, password_hash, password_key_id, created_at) VALUES ($1, $2, 'Ada', 'Lovelace',"
                " 'lovelace ada', $3, $3, true, 'ADMINISTRATOR', 'ACTIVE', $4, clock_now(), $5, $6, clock_now())",
                [
                    (user, practice, f"{user}@elm.example", f"+1202556{n:04d}", HASH, KEY_ID)
                    for n, (practice, user, _) in enumerate(ids)
                ],
            )
            await connection.executemany(
                "INSERT INTO challenges (id, user_id, purpose, token_hash, device_name, expires_at, created_at)"
                " VALUES ($1, $2, 'SIGN_IN', $3, 'A browser', clock_now() + interval '15 minutes', clock_now())",
                [
                    (challenge, user, secrets.token_hash(token))
                    for (_, user, challenge), token in zip(ids, tokens, strict=True)
                ],
            )
    finally:
        await connection.close()
    return [Waiting("sendSecurityCode", {"challengeToken": token, "channel": "SMS"}) for token in tokens]


async def strangers(url: str, count: int) -> list[Waiting]:
    """So many people who sign up a practice and have to prove a phone. url: of the database."""
    secrets.use_keys((KEYS.encode(),))
    ids = [(uuid7(), uuid7(), new_nonce()) for _ in range(count)]
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.executemany(
                "INSERT INTO sign_ups (id, first_name, last_name, email, email_canonical, phone, practice_name, specialty, time_zone,"
                " nonce, key_id, expires_at, created_at) VALUES ($1, 'Ann', 'Lee', $2, $2, '+12025550100', 'Elm', 'Surgery', 'UTC',"
                " $3, $4, clock_now() + interval '1 day', clock_now())",
                [(sign_up, f"{sign_up}@oak.example", new_nonce(), KEY_ID) for sign_up, _, _ in ids],
            )
            await connection.executemany(
                "INSERT INTO enrollments (id, sign_up_id, next_step, nonce, key_id, expires_at, created_at)"
                " VALUES ($1, $2, 'SEND_PHONE_CODE', $3, $4, clock_now() + interval '1 hour', clock_now())",
                [(enrollment, sign_up, nonce, KEY_ID) for sign_up, enrollment, nonce in ids],
            )
    finally:
        await connection.close()
    return [
        Waiting(
            "sendPhoneCode",
            {
                "enrollmentToken": secrets.link_token("enrollment", enrollment, nonce, KEY_ID),
                "phone": f"+1202557{n:04d}",
                "channel": "SMS",
            },
        )
        for n, (_, enrollment, nonce) in enumerate(ids)
    ]


async def ask(url: str, one: Waiting) -> Json:
    """Ask an API process for one code; the whole answer."""
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
        return await _ask(client, url, one)


async def ask_all(url: str, waiting: Sequence[Waiting]) -> list[str]:
    """Ask an API process for all of these codes at once; what each was answered with."""
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=httpx.Limits(max_connections=None)) as client:
        return [kind(answer) for answer in await asyncio.gather(*(_ask(client, url, one) for one in waiting))]


async def _ask(client: httpx.AsyncClient, url: str, one: Waiting) -> Json:
    body = {"query": document(one.mutation), "variables": {"input": one.values}}
    answer: Json = (await client.post(f"{url}/graphql", json=body)).json()
    return answer


def kind(answer: Json) -> str:
    """The type of an answer, or the code of its error."""
    if errors := answer.get("errors"):
        return str(errors[0]["extensions"]["code"])
    [result] = answer["data"].values()
    return str(result["__typename"])
