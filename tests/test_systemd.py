"""What systemd is told of an API process, where there is a systemd that listens."""

import contextlib
import socket
import uuid
from pathlib import Path

import pytest

from cli import systemd


@pytest.mark.parametrize("is_abstract", [False, True])
def test_systemd_hears_at_the_socket_that_it_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    address = f"@{uuid.uuid4()}" if is_abstract else str(tmp_path / "notify")
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(address.replace("@", "\0", 1))
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        systemd.tell(systemd.ALIVE)
        assert listening.recv(100) == b"WATCHDOG=1"


def test_a_process_without_systemd_or_whose_systemd_is_gone_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.tell(systemd.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    systemd.tell(systemd.READY)
