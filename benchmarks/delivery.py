"""How fast messages get out, beside Celery and beside what a mail client alone can do, against one sink on the same machine.

`.venv/bin/python -m benchmarks.delivery` prints the table; `--write` puts it into docs/benchmarks.md. It starts PostgreSQL, Redis, the sink
and all processes by itself, and takes some minutes; nothing else should run meanwhile. MAILS=300 makes it a quick look.
"""

import argparse
import asyncio
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from multiprocessing.connection import Connection
from pathlib import Path

import aiosmtplib
import redis as redis_client
from dramatiq import Message

from domain import secrets
from tests import conftest
from tests import parts as real_parts
from tests.faults.scene import KEY_ID, Scene, people, post
from tests.faults.test_load_faults import send_code
from tests.servers import postgres, sink
from workers.broker import NAMESPACE, QUEUE, SturdyRedisBroker

MAILS = int(os.environ.get("MAILS", "10000"))
CODES = int(os.environ.get("CODES", "100"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
ROWS = 200  # invitations in one mutation
A_DAY = 1000  # of one practice
PROCESSES, CONNECTIONS = 2, 4
CELERY_CONCURRENCY = 2
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARK = "<!-- delivery -->"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """One candidate's round. rate: mails a second from the first to the last that was accepted. cpu: milliseconds a mail, all its processes."""

    rate: float
    cpu: float


# -- the sink, in a process of its own -------------------------------------------------------------------------------------


def _sink(pipe: Connection) -> None:
    asyncio.run(_sink_loop(pipe))


async def _sink_loop(pipe: Connection) -> None:
    async with sink.running() as relay:
        pipe.send(relay.url)
        while (asked := await asyncio.to_thread(pipe.recv)) != "end":
            if asked == "forget":
                relay.forget()
            pipe.send((len(relay.arrivals), relay.arrivals[:1] + relay.arrivals[-1:], relay.mails[:1]))


class Sink:
    """The sink's process, asked through a pipe. Moments are of the one monotonic clock that all processes have."""

    def __init__(self) -> None:
        self._pipe, far = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_sink, args=(far,), daemon=True)
        self._process.start()
        self.url: str = self._pipe.recv()

    def ask(self, what: str = "count") -> tuple[int, list[float], list[tuple[str, bytes]]]:
        """How many mails came, when the first and the last, and the first."""
        self._pipe.send(what)
        found: tuple[int, list[float], list[tuple[str, bytes]]] = self._pipe.recv()
        return found

    def wait(self, count: int, seconds: float = 300.0) -> list[float]:
        """Until so many came; when the first and the last did."""
        deadline = time.monotonic() + seconds
        while (found := self.ask())[0] < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found[0]} of {count} mails came")
            time.sleep(0.02)
        return found[1]

    def end(self) -> None:
        """Stop it."""
        self._pipe.send("end")
        self._process.join(10)


def cpu_of(*pids: int) -> float:
    """Processor seconds that processes and all that they started have used so far."""
    found = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found += (int(fields[11]) + int(fields[12])) / TICKS
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        found += cpu_of(*map(int, children))
    return found


# -- the candidates --------------------------------------------------------------------------------------------------------


async def product(scene: Scene, target: Sink, number: int) -> Run:
    """Our workers on a backlog: two processes of one command."""
    target.ask("forget")
    await scene.due([f"n{n}@r{number}.example" for n in range(MAILS)])
    with scene.workers(f"drain{number}", PROCESSES, SMTP_URL=target.url) as worker:
        worker.wait_until("The worker looks for deliveries")
        began = cpu_of(worker.popen.pid)
        first, last = await asyncio.to_thread(target.wait, MAILS)
        used = cpu_of(worker.popen.pid) - began
        await scene.settled()
    return Run(MAILS / (last - first), used / MAILS * 1000)


def _client(url: str, mail: bytes, count: int, pipe: Connection) -> None:
    pipe.send(asyncio.run(_send_all(url, mail, count)))


async def _send_all(url: str, mail: bytes, count: int) -> float:
    port = int(url.rpartition(":")[2].partition("?")[0])
    began = time.process_time()

    async def send(some: int) -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, use_tls=False)
        await client.connect()
        for _ in range(some):
            await client.mail("access@practice.example")
            await client.rcpt("ann@example.com")
            await client.data(mail)
        await client.quit()

    await asyncio.gather(*(send(count // CONNECTIONS) for _ in range(CONNECTIONS)))
    return time.process_time() - began


async def limit(_: Scene, target: Sink, mail: bytes) -> Run:
    """Aiosmtplib alone, on kept connections, with the bytes that our workers made."""
    target.ask("forget")
    context = multiprocessing.get_context("spawn")
    pipes, running = [], []
    for _ in range(PROCESSES):
        near, far = multiprocessing.Pipe()
        pipes.append(near)
        running.append(context.Process(target=_client, args=(target.url, mail, MAILS // PROCESSES, far)))
    for one in running:
        one.start()
    used = sum([await asyncio.to_thread(pipe.recv) for pipe in pipes])
    for one in running:
        one.join()
    count = MAILS // PROCESSES // CONNECTIONS * CONNECTIONS * PROCESSES
    first, last = await asyncio.to_thread(target.wait, count)
    return Run(count / (last - first), used / count * 1000)


CELERY = """
import os, smtplib
from email.message import EmailMessage
from celery import Celery
from jinja2 import Environment

app = Celery("mails", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=16, worker_hijack_root_logger=False)
environment = Environment(autoescape=True)
TEXT, HTML = open(os.environ["TEXT"]).read(), open(os.environ["HTML"]).read()
PORT = int(os.environ["SINK"].rpartition(":")[2].partition("?")[0])

@app.task
def send(recipient, name):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Practice Access <access@practice.example>", recipient, "Your invitation"
    mail.set_content(environment.from_string(TEXT).render(name=name))
    mail.add_alternative(environment.from_string(HTML).render(name=name), subtype="html")
    with smtplib.SMTP("127.0.0.1", PORT) as client:
        client.send_message(mail)
"""


async def celery(scene: Scene, target: Sink, mail: bytes) -> Run:
    """Celery with Redis, as its users write it: a task a mail, made of templates and sent over a connection of its own."""
    target.ask("forget")
    folder = scene.parts.folder / "celery"
    folder.mkdir(exist_ok=True)
    (folder / "mails.py").write_text(CELERY)
    parts = _parts_of(mail)
    for name, text in parts.items():
        (folder / name).write_text(text + "{{ name }}")
    broker = scene.parts.redis.url.rpartition("/")[0] + "/5"
    given = {"BROKER": broker, "SINK": target.url, "TEXT": str(folder / "text"), "HTML": str(folder / "html")}
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder), **given}
    count = max(MAILS // 4, 100)  # it takes long
    enqueue = f"import mails\nfor n in range({count}): mails.send.delay(f'n{{n}}@example.com', 'Ann')"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", enqueue], cwd=folder, env=environment, check=True)
    command = [sys.executable, "-m", "celery", "-A", "mails", "worker", "-c", str(CELERY_CONCURRENCY), "-l", "ERROR"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 -- nothing else runs on this loop
            command, cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        await asyncio.to_thread(target.wait, 1)
        began = cpu_of(process.pid)
        first, last = await asyncio.to_thread(target.wait, count)
        used = cpu_of(process.pid) - began
    finally:
        process.terminate()
        process.wait(30)
    return Run(count / (last - first), used / count * 1000)


def _parts_of(mail: bytes) -> dict[str, str]:
    from email import message_from_bytes, policy  # noqa: PLC0415 -- of this alone

    parsed = message_from_bytes(mail, policy=policy.default)
    assert isinstance(parsed, EmailMessage)
    found = {}
    for name, kind in (("text", "plain"), ("html", "html")):
        body = parsed.get_body((kind,))
        assert body is not None
        found[name] = str(body.get_content()).replace("{", "(").replace("}", ")")
    return found


# -- what people wait for --------------------------------------------------------------------------------------------------


async def whole(scene: Scene, target: Sink) -> tuple[float, float]:
    """From the first mutation to the last mail that was accepted; and how long the mutations took. In seconds."""
    target.ask("forget")
    sessions = [await scene.administrator() for _ in range(-(-MAILS // A_DAY))]
    with (
        scene.api("api") as api,
        scene.workers("whole", PROCESSES, SMTP_URL=target.url) as worker,
    ):
        worker.wait_until("The worker looks for deliveries")
        began_at = time.monotonic()
        await asyncio.to_thread(_invite, api.url, sessions)
        invited_at = time.monotonic()
        _, last = await asyncio.to_thread(target.wait, MAILS)
    return last - began_at, invited_at - began_at


def _invite(url: str, sessions: list[str]) -> None:
    left = MAILS
    for number, session in enumerate(sessions):
        for call in range(A_DAY // ROWS):
            if some := min(left, ROWS):
                answer = post(
                    url, "invite", {"users": people(some, f"c{call}.p{number}.example")}, session, seconds=120
                )
                assert answer["data"]["invite"]["invitedCount"] == some
                left -= some


@contextmanager
def bell(scene: Scene) -> Iterator[Callable[[], None]]:
    """Rings the workers as an API process does."""
    with redis_client.Redis.from_url(scene.parts.redis.url) as client:
        broker = SturdyRedisBroker(client=client, namespace=NAMESPACE)  # type: ignore[no-untyped-call]  # its parent has no types
        broker.declare_queue(QUEUE)

        def ring() -> None:
            broker.enqueue(Message(queue_name=QUEUE, actor_name="deliver", args=(), kwargs={}, options={}))

        yield ring


async def codes(scene: Scene, ring: Callable[[], None], first: int) -> list[float]:
    """Seconds from the commit of a code until the carrier took it, one after the other."""
    waits = []
    for number in range(first, first + CODES):
        phone = f"+1202{5550000 + number}"
        await send_code(scene, phone)
        committed_at = time.monotonic()
        ring()
        while not (texts := scene.parts.carrier.sent_to(phone)):  # noqa: ASYNC110 -- it is another process
            await asyncio.sleep(0.002)
        waits.append(texts[0].at - committed_at)
    return waits


async def waiting(scene: Scene, target: Sink) -> tuple[list[float], list[float]]:
    """How long codes take while nothing else is due, and in the middle of a burst."""
    with scene.workers("codes", PROCESSES, SMTP_URL=target.url) as worker, bell(scene) as ring:
        worker.wait_until("The worker looks for deliveries")
        idle = await codes(scene, ring, 0)
        stop = asyncio.Event()

        async def burst() -> None:
            number = 0
            while not stop.is_set():
                await scene.due([f"b{n}@burst{number}.example" for n in range(MAILS)])
                ring()
                number += 1
                while not stop.is_set() and await _queued(scene) > MAILS // 4:  # noqa: ASYNC110 -- as above
                    await asyncio.sleep(0.2)

        bursting = asyncio.create_task(burst())
        await asyncio.sleep(1)
        busy = await codes(scene, ring, CODES)
        stop.set()
        await bursting
    return idle, busy


async def _queued(scene: Scene) -> int:
    return int((await scene.sql("SELECT count(*) AS n FROM deliveries WHERE lane = 2 AND status = 'QUEUED'"))[0]["n"])


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1000


# -- the table -------------------------------------------------------------------------------------------------------------


async def measure(folder: Path, url: str) -> str:
    """Everything; the table."""
    secrets.use_keys(tuple(key.encode() for key in conftest.TEST_KEYS))
    assert secrets.newest_key_id() == KEY_ID
    target = Sink()
    try:
        with real_parts.running(folder, url) as running:
            scene = Scene(running)
            runs: dict[str, list[Run]] = {"limit": [], "product": [], "celery": []}
            mail = b""
            for number in range(ROUNDS):
                runs["product"].append(await product(scene, target, number))
                mail = mail or target.ask()[2][0][1] + b"\r\n"
                runs["limit"].append(await limit(scene, target, mail))
                runs["celery"].append(await celery(scene, target, mail))
            seconds, inviting = await whole(scene, target)
            idle, busy = await waiting(scene, target)
    finally:
        target.end()
    return table(runs, len(mail), seconds, inviting, idle, busy)


def table(
    runs: dict[str, list[Run]], size: int, seconds: float, inviting: float, idle: list[float], busy: list[float]
) -> str:
    """Markdown."""
    rate = {name: statistics.median(run.rate for run in some) for name, some in runs.items()}
    cpu = {name: statistics.median(run.cpu for run in some) for name, some in runs.items()}
    names = {
        "limit": f"aiosmtplib alone, {PROCESSES} processes of {CONNECTIONS} kept connections, ready bytes (the limit)",
        "product": f"Practice Access, {PROCESSES} worker processes",
        "celery": f"Celery and Redis, {CELERY_CONCURRENCY} processes, a connection a mail",
    }
    lines = [
        (
            f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; {MAILS} mails of {size} bytes a round, {ROUNDS} rounds,"
            " medians. PostgreSQL, Redis and the sink run on the same cores."
        ),
        "",
        "| sender | mails/s | of the limit | processor ms a mail | mails a second of one core | × Celery, by core |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {names[name]} | {rate[name]:,.0f} | {rate[name] / rate['limit']:.0%} | {cpu[name]:.2f} | {1000 / cpu[name]:,.0f} |"
        f" {cpu['celery'] / cpu[name]:.1f} |"
        for name in ("limit", "product", "celery")
    ]
    lines += [
        "",
        (
            f"{MAILS:,} invitations by the bulk mutation, {ROWS} at a time, until the last was accepted: {seconds:.1f} s, of which the mutations took"
            f" {inviting:.1f} s ({MAILS / seconds:,.0f} invitations/s from click to relay)."
        ),
        "",
        "| a security code, from commit to accepted by the carrier | p50 | p99 |",
        "|---|---|---|",
        f"| while nothing else is due | {percentile(idle, 0.5):.0f} ms | {percentile(idle, 0.99):.0f} ms |",
        f"| in a burst of {MAILS:,} invitations | {percentile(busy, 0.5):.0f} ms | {percentile(busy, 0.99):.0f} ms |",
    ]
    return "\n".join(lines)


async def _database(server: str) -> str:
    await conftest.make_template(server)
    return await conftest.fresh_database(server)


def main() -> None:
    """Measure, and print or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="practice-access-benchmark-")))
        server = stack.enter_context(postgres.running())
        found = asyncio.run(_measured(folder, server))
    print(found)
    if options.write:
        before, _, rest = PAGE.read_text().partition(MARK)
        after = rest.partition(MARK)[2]
        PAGE.write_text(f"{before}{MARK}\n{found}\n{MARK}{after}")


async def _measured(folder: Path, server: str) -> str:
    return await measure(folder, await _database(server))


if __name__ == "__main__":
    main()
