"""Telling systemd how an API process is (sd_notify(3)): a datagram to the socket that NOTIFY_SOCKET names.

With `Type=notify` and `WatchdogSec=30` in its unit, systemd starts a process anew that has stopped turning, also one that is frozen as a
whole and cannot end itself. Without NOTIFY_SOCKET nothing is done.
"""

import contextlib
import os
import socket

READY = "READY=1"
ALIVE = "WATCHDOG=1"
STOPPING = "STOPPING=1"


def tell(state: str) -> None:
    """Tell it, if it is there to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # in Linux's abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.setblocking(False)
        notify.sendto(state.encode(), address)
