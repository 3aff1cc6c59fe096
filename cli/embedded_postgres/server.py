"""The running server: one per folder, kept by a process that outlives neither it nor the application."""

import contextlib
import fcntl
import os
import platform
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cli.embedded_postgres.cluster import Cluster
from cli.embedded_postgres.failure import PostgresFailed

START_SECONDS = 120.0  # replaying the log after a hard kill is part of it
STOP_SECONDS = 30.0
ATTEMPTS = 5  # a port may be taken between its choice and its use; a killed server's children need a moment to end

# Starts the server, and asks it to stop when standard input ends: the application holds the other end of that pipe, so
# it ends when the application closes it or is gone. Linux's parent-death signal would follow a thread, and macOS has none.
KEEPER = """
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
( read -r _ <&3; kill -INT $server ) 2>/dev/null &
watcher=$!
exec 3<&-
wait $server
code=$?
kill $watcher 2>/dev/null
exit $code
"""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_checkpoints": "off",
    "max_parallel_workers_per_gather": "0",  # parallel plans want more shared memory than containers give
    "jit": "off",  # costs more than it saves on queries this small
}
FAST_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@contextlib.contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel takes back however the holder ends. Raises PostgresFailed."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(data_dir / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        problem = f"{data_dir} cannot be written ({error.strerror})"
        raise PostgresFailed(f"{problem}: set DATA_DIR to a folder of your own") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        remedy = "stop that one, or set DATA_DIR and PORT to others"
        raise PostgresFailed(f"{data_dir} is in use by another run: {remedy}") from None
    try:
        yield
    finally:
        os.close(lock)


def port_of_running(data: Path) -> int | None:
    """The port of the server that is at work on a data folder; None when there is none that takes connections."""
    pid = _recorded_pid(data)
    if pid is None or not _is_alive(pid) or not _serves(pid, data):
        return None
    lines = (data / "postmaster.pid").read_text().splitlines()
    return int(lines[3]) if len(lines) > 7 and lines[7].strip() == "ready" else None


def stop_orphan(cluster: Cluster) -> None:
    """Stop a server that is left from a run that was killed, and forget one that is gone. Raises PostgresFailed."""
    deadline = time.monotonic() + STOP_SECONDS
    while (pid := _recorded_pid(cluster.data)) is not None and _is_alive(pid):
        if not _serves(pid, cluster.data):  # the number has gone to some other process since
            (cluster.data / "postmaster.pid").unlink(missing_ok=True)
            return
        if time.monotonic() > deadline:
            raise PostgresFailed(
                f"process {pid}, a server on {cluster.data} from an earlier run, does not stop: end it by hand"
            )
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)  # a "fast" shutdown; asking again does no harm
        time.sleep(0.1)


@contextlib.contextmanager
def run(cluster: Cluster, log_file: Path) -> Iterator[int]:
    """Run the server while the block runs; yields its port. Raises PostgresFailed."""
    for attempt in range(1, ATTEMPTS + 1):
        port = _free_port()
        with _kept(cluster, port, log_file) as keeper:
            complaint = _complaint_or_ready(cluster, keeper, port, log_file)
            if complaint is None:
                yield port
                return
        if attempt == ATTEMPTS:
            raise PostgresFailed(f"PostgreSQL does not start: {complaint} (the whole story is in {log_file})")
        time.sleep(0.5 * attempt)


@contextlib.contextmanager
def _kept(cluster: Cluster, port: int, log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    settings = SETTINGS | ({} if cluster.durable else FAST_SETTINGS) | {"port": str(port)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (
        os.fdopen(os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log,
        cluster.account.opened(cluster.data) as (folder, files),
    ):
        keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "keeper", cluster.program("postgres"), "-D", folder, *options],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=cluster.environment(),
            pass_fds=files,
            start_new_session=True,
            **cluster.account.process_options(),
        )
    try:
        yield keeper
    finally:
        _stop(cluster, keeper)


def _stop(cluster: Cluster, keeper: subprocess.Popen[bytes]) -> None:
    assert keeper.stdin is not None
    keeper.stdin.close()
    try:
        keeper.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pid = _recorded_pid(cluster.data)
        if pid is not None and _serves(pid, cluster.data):
            os.kill(pid, signal.SIGQUIT)  # "immediate": the next start recovers
        keeper.wait(STOP_SECONDS)


def _complaint_or_ready(cluster: Cluster, keeper: subprocess.Popen[bytes], port: int, log_file: Path) -> str | None:
    """None once the server takes connections; its last complaint when it ends before. Raises PostgresFailed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if keeper.poll() is not None:
            return _last_complaint(log_file)
        if _state(cluster.data, port) == "ready":
            return None
        time.sleep(0.02)
    raise PostgresFailed(f"PostgreSQL was not ready after {START_SECONDS:.0f} seconds (see {log_file})")


def _state(data: Path, port: int) -> str | None:
    """What the server on a port says of itself: its pid file's fourth line is the port, the eighth its state."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    return (
        lines[7].strip() if len(lines) > 7 and lines[3] == str(port) else None
    )  # else half-written, or of an earlier run


def _last_complaint(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").splitlines()
    complaints = [line for line in lines if "FATAL" in line or "PANIC" in line]
    return (complaints or lines or ["it wrote no log"])[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _recorded_pid(data: Path) -> int | None:
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _serves(pid: int, data: Path) -> bool:
    """Whether a process is a server on this data: it works in that folder."""
    if platform.system() == "Linux":
        try:
            return Path(f"/proc/{pid}/cwd").samefile(data)
        except OSError:
            return False
    listed = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return str(data) in listed.stdout
