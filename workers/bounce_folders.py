"""What came back into a mailbox on this machine: a Maildir or an mbox file, read to its end.

Everything is noted before it is put aside: who is killed in between reads it once more, and two who read at once note the same twice.
Noting twice changes nothing.
"""

import mailbox
from collections.abc import Awaitable, Callable
from pathlib import Path

from workers.bounces import MAX_BYTES

Take = Callable[[bytes], Awaitable[bool]]
READ = ":2,S"


async def read_maildir(folder: Path, take: Take) -> tuple[int, int]:
    """Read what is new in a Maildir and move it to `cur`, marked as seen; how many mails there were, and how many were for us.

    Raises OSError when there is no such folder, and what `take` raises: then what was not noted stays new.
    """
    read = ours = 0
    for path in sorted((folder / "new").iterdir()):
        if not path.is_file():  # somebody else has read it meanwhile, or it is no mail
            continue
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES)
        except FileNotFoundError:
            continue
        ours += await take(raw)
        read += 1
        try:
            path.rename(folder / "cur" / (path.name.partition(":")[0] + READ))
        except FileNotFoundError:
            continue
    return read, ours


async def read_mbox(path: Path, take: Take) -> tuple[int, int]:
    """Read an mbox file and take out of it what is for us; how many mails there were, and how many were taken out.

    What is not for us stays: the mailbox may be a person's too. Raises mailbox.NoSuchMailboxError, mailbox.ExternalClashError when another
    program has the file locked, and what `take` raises: then nothing is taken out.
    """
    box = mailbox.mbox(path, create=False)
    try:
        box.lock()
        # Bytes as they are in the file: a mail that the parser does not like is no reason to stop.
        keys = list(box.iterkeys())
        done = [key for key in keys if await take(_raw(box, key))]
        for key in done:
            box.remove(key)
        box.flush()
    finally:
        box.close()
    return len(keys), len(done)


def _raw(box: mailbox.mbox, key: str) -> bytes:
    with box.get_file(key) as file:
        found: bytes = file.read(MAX_BYTES)
    return found
