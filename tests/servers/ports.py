"""Ports for servers that cannot choose one themselves."""

import random
import socket

# Below the ranges from which operating systems pick ports for outgoing connections (Linux: from 32768, macOS: from 49152). A port of
# such a range may be taken between this call and the moment when the server listens.
FIRST, LAST = 15_000, 32_000

_reserved: list[socket.socket] = []  # kept open for as long as the process lives
_choice = random.SystemRandom()  # pytest-randomly seeds `random` before each test, in every worker alike


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on and that no other call returns, in this process or another.

    A UDP socket with the same number reserves it; a TCP server can still use it.
    """
    for _ in range(1_000):
        port = _choice.randrange(FIRST, LAST)
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            reservation.close()
            continue
        _reserved.append(reservation)
        return port
    raise RuntimeError(f"no port of 127.0.0.1 from {FIRST} to {LAST} is free")
