"""The product as the machine sees it: its API, and what people would read in their messages, made from the rows as a worker makes it."""

from uuid import UUID

from domain import database, secrets
from graph.ids import split_id
from tests.world import Api, Json, document

PAC = "SELECT id, nonce, key_id FROM practice_access_codes WHERE practice_id = $1 AND valid_until IS NULL"
LINK = "SELECT id, nonce, key_id FROM invitations WHERE user_id = $1"
RESET = "SELECT id, nonce, key_id FROM password_resets WHERE user_id = $1 AND superseded_at IS NULL ORDER BY id DESC LIMIT 1"
CODE = "SELECT id, nonce, key_id FROM security_codes ORDER BY id DESC LIMIT 1"
ROLES = "SELECT practice_id FROM users WHERE id = $1"
STATE = """
    SELECT p.name AS practice, u.email_canonical AS email, u.status, u.access_level, u.holds_email
    FROM users u JOIN practices p ON p.id = u.practice_id WHERE u.removed_at IS NULL ORDER BY u.id
"""


def row_id(global_id: str) -> UUID:
    """The row behind a global id."""
    found = split_id(global_id)
    assert found is not None
    return found[1]


class Product:
    """Calls mutations, and reads links and codes."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def act(self, mutation: str, values: Json | None, token: str | None = None) -> tuple[str, Json]:
        """Call a mutation: the type of the answer, or the code of a top-level error; and the answer."""
        query, variables = "mutation { rotatePracticeAccessCode { __typename ... on PracticeAccessCode { code } } }", {}
        if values is not None:
            query, variables = document(mutation), {"input": values}
        answer = await self.api.post(query, variables, token=token)
        # Budgets and the counters of passwords, phones and networks have tests of their own.
        await database.execute("DELETE FROM budgets")
        await database.execute("DELETE FROM guess_counters WHERE key NOT LIKE 'pac:link:%'")
        if "errors" in answer:
            return str(answer["errors"][0]["extensions"]["code"]), {}
        result: Json = answer["data"][mutation]
        return str(result["__typename"]), result

    async def access_code(self, administrator_id: str) -> str:
        """The practice's code."""
        practice = await database.fetch(ROLES, row_id(administrator_id))
        row = (await database.fetch(PAC, practice[0]["practice_id"]))[0]
        return secrets.practice_access_code(row["id"], row["nonce"], row["key_id"])

    async def link(self, user_id: str) -> str:
        """The newest link of an invitation."""
        row = (await database.fetch(LINK, row_id(user_id)))[0]
        return secrets.link_token("invitation", row["id"], row["nonce"], row["key_id"])

    async def reset_link(self, user_id: str) -> str:
        """The newest link to set a new password with."""
        row = (await database.fetch(RESET, row_id(user_id)))[0]
        return secrets.link_token("password-reset", row["id"], row["nonce"], row["key_id"])

    async def code(self) -> str:
        """The newest security code of all."""
        row = (await database.fetch(CODE))[0]
        return secrets.security_code(row["id"], row["nonce"], row["key_id"])

    async def viewer(self, token: str) -> str | None:
        """Whom a session stands for."""
        found: str | None = ((await self.api.query("{ viewer { id } }", token=token))["viewer"] or {}).get("id")
        return found

    async def state(self) -> list[Json]:
        """Everybody, as the tables have them."""
        return await database.fetch(STATE)
