"""Limits of every connection to PostgreSQL, so that a process that stops in the middle of an act holds up nobody for long.

A process can stop without ending: a paused virtual machine, SIGSTOP, a host that lost its network. PostgreSQL then keeps its transaction
open, with every lock, until one of these limits ends it. Migrations have limits of their own: their statements may take hours.
"""

# How long a statement waits for one lock. A lock is normally held for milliseconds; whoever waits longer is better told to try again.
LOCK_TIMEOUT_SECONDS = 2
# How long a transaction may do nothing. Between two statements of an act lie milliseconds of Python; hashing is done before it begins.
IDLE_IN_TRANSACTION_SECONDS = 5
# How long the server works on one statement. The client gives up first (`command_timeout`) and cancels; this one ends what a client that
# is gone cannot cancel any more.
STATEMENT_GRACE_SECONDS = 5
# A peer that is gone is noticed after 10 + 3 * 5 seconds of silence, or when what was sent is not acknowledged for 20 seconds. Without
# these Linux takes over two hours, and a quarter of an hour. Both ends of a connection have them.
KEEPALIVE_IDLE_SECONDS = 10
KEEPALIVE_INTERVAL_SECONDS = 5
KEEPALIVE_COUNT = 3
UNACKNOWLEDGED_SECONDS = 20

# What the server does with a connection of any kind.
PEER_SETTINGS = {
    "tcp_keepalives_idle": str(KEEPALIVE_IDLE_SECONDS),
    "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_SECONDS),
    "tcp_keepalives_count": str(KEEPALIVE_COUNT),
    "tcp_user_timeout": f"{UNACKNOWLEDGED_SECONDS}s",
}
# With one of the API or a worker while an act is under way.
ACT_SETTINGS = {
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS}s",
}
SERVER_SETTINGS = PEER_SETTINGS | ACT_SETTINGS
# For transactions on connections that could not ask for it when they opened.
SET_IN_TRANSACTION = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in ACT_SETTINGS.items())

# The same of our own end, under libpq's names; what the URL says wins.
OF_OUR_END = {
    "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
    "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
    "keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": UNACKNOWLEDGED_SECONDS * 1000,
}


def server_settings(command_timeout_seconds: float) -> dict[str, str]:
    """What a connection of the API or a worker asks of the server when it opens. command_timeout_seconds: the client's own limit."""
    milliseconds = int((command_timeout_seconds + STATEMENT_GRACE_SECONDS) * 1000)
    return SERVER_SETTINGS | {"statement_timeout": f"{milliseconds}ms"}
