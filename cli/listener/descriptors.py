"""How many file descriptors this process may have, and how many of them are for connections of clients."""

import resource

# What else needs descriptors: the database's pool, Redis, the relay, carriers, the metrics port, files, and the connections
# that asyncio accepts in one turn of the loop before it tells about the first.
RESERVED = 224
MAX_DESCRIPTORS = 65_536  # a larger limit is of no use, and macOS refuses some of the values that it announces
# Each may hold a request's head and body in memory, about 150 KiB.
MAX_CONNECTIONS = 4096


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as far as that is of use; the limit then in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # the system has a lower limit of its own
            return soft
    return max(soft, wanted)


def capacity(limit: int) -> int:
    """How many connections may be open at once under this limit on descriptors."""
    return min(MAX_CONNECTIONS, max(limit - RESERVED, limit // 2))
