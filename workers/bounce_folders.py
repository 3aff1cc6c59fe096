"""What came back into a mailbox on this machine: a Maildir or an mbox file, read to its end.

Everything is noted before it is put aside: who is killed in between reads it once more, and two who read at once note the same twice.
Noting twice changes nothing. What cannot be read is left for a person to look at: unseen in the Maildir, in its place in an mbox file.
"""

import mailbox
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from workers.bounces import MAX_BYTES, Kind

Take = Callable[[bytes], Awaitable[Kind]]
SEEN, UNSEEN = ":2,S", ":2,"


@dataclass(slots=True)
class Count:
    """How many mails there were, how many told how one of ours fared, and how many came to our return paths and cannot be read."""

    read: int = 0
    noted: int = 0
    unreadable: int = 0

    def add(self, kind: Kind) -> None:
        """One mail more."""
        self.read += 1
        self.noted += kind is Kind.REPORT
        self.unreadable += kind is Kind.UNREADABLE


async def read_maildir(folder: Path, take: Take) -> Count:
    """Read what is new in a Maildir and move it to `cur`, marked as seen unless it cannot be read.

    Raises OSError when there is no such folder, and what `take` raises: then what was not noted stays new.
    """
    count = Count()
    for path in sorted((folder / "new").iterdir()):
        if not path.is_file():  # somebody else has read it meanwhile, or it is no mail
            continue
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES)
        except FileNotFoundError:
            continue
        kind = await take(raw)
        count.add(kind)
        try:
            flags = UNSEEN if kind is Kind.UNREADABLE else SEEN
            path.rename(folder / "cur" / (path.name.partition(":")[0] + flags))
        except FileNotFoundError:
            continue
    return count


async def read_mbox(path: Path, take: Take) -> Count:
    """Read an mbox file and take out of it what was noted.

    Everything else stays: the mailbox may be a person's too. Raises mailbox.NoSuchMailboxError, mailbox.ExternalClashError when another
    program has the file locked, and what `take` raises: then nothing is taken out.
    """
    count = Count()
    box = mailbox.mbox(path, create=False)
    try:
        box.lock()
        # Bytes as they are in the file: a mail that the parser does not like is no reason to stop.
        keys = list(box.iterkeys())
        done = []
        for key in keys:
            kind = await take(_raw(box, key))
            count.add(kind)
            if kind is Kind.REPORT:
                done.append(key)
        for key in done:
            box.remove(key)
        box.flush()
    finally:
        box.close()
    return count


def _raw(box: mailbox.mbox, key: str) -> bytes:
    with box.get_file(key) as file:
        found: bytes = file.read(MAX_BYTES)
    return found
