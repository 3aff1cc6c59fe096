"""Everything that an operator runs, for real: PostgreSQL, Redis, a mail relay, a carrier, and the product's own processes."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.embedded_postgres import binaries
from tests import processes
from tests.processes import Process
from tests.servers import carrier, redis, smtp


@dataclass
class Parts:
    """Everything that an operator runs, for real."""

    folder: Path
    database_url: str
    redis: redis.Redis
    smtp: smtp.Sink
    carrier: carrier.Carrier

    @property
    def settings(self) -> dict[str, str]:
        """What the processes are told."""
        return {
            "ENVIRONMENT": "production",
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis.url,
            "SMTP_URL": self.smtp.url,
            "MAIL_FROM": "access@practice-access.example",
            "TWILIO_ACCOUNT_SID": self.carrier.account_sid,
            "TWILIO_AUTH_TOKEN": self.carrier.auth_token,
            "TWILIO_FROM": "+12025550199",
            "TWILIO_API_URL": self.carrier.api_url,
            "CLIENT_URL": "https://app.practice-access.example",
            "SECRET_KEYS": "k3y-0f-the-j0urney-test-9f8e7d6c5b4a",
            "DATA_DIR": str(self.folder / "data"),
            "DRAIN_SECONDS": "0",  # no load balancer has to be told
            "LOG_LEVEL": "debug",
        }

    def inbox(self, recipient: str) -> list[str]:
        """What came to somebody over the wire, newest first."""
        if recipient.startswith("+"):
            return [taken.text for taken in self.carrier.sent_to(recipient)][::-1]
        bodies = [message.get_body(("plain",)) for message in self.smtp.sent_to(recipient)]
        return [str(body.get_content()) for body in bodies if body is not None][::-1]


@contextlib.contextmanager
def running(folder: Path, database_url: str) -> Iterator[Parts]:
    """Real parts while the block runs, with a database that is there."""
    with redis.running() as broker, smtp.running() as sink, carrier.running() as phone:
        yield Parts(folder, database_url, broker, sink, phone)


@contextlib.contextmanager
def apis(parts: Parts, count: int) -> Iterator[list[Process]]:
    """API processes."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(processes.serving(parts.folder, f"api{n}", "api", settings=parts.settings))
            for n in range(count)
        ]


def dump(url: str) -> str:
    """Everything in the database, as text."""
    program = next(iter(binaries.found())).folder / "pg_dump"
    done = subprocess.run([program, "--inserts", url], capture_output=True, text=True, check=True)
    return done.stdout
