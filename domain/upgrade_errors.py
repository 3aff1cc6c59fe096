"""Why a schema was not brought up to date. Apart from what does it, so that a command need not load the ORM to know them."""


class UpgradeBlocked(Exception):
    """The schema cannot be changed now, since somebody holds a lock. `str()` is the one line for the operator."""


class UpgradeFailed(Exception):
    """A migration does not fit what the database holds; nothing of it was kept. `str()` is the one line for the operator."""
