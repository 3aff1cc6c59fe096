"""Indexes with which what workers and operators ask of the outbox does not depend on how many messages wait.

`ix_deliveries_lane` takes the place of `ix_deliveries_due`, which did not have the channel. The version before finds its rows by it too.
"""

from tortoise import migrations

from domain import migration_indexes

OPEN = "status IN ('QUEUED', 'RETRYING', 'SENDING')"
INDEXES = {
    "ix_deliveries_lane": f"INDEX {{}} ON deliveries (lane, channel, due_at) WHERE {OPEN}",
    # Leases that ran out. In the index above they stand between all that is due.
    "ix_deliveries_sending": "INDEX {} ON deliveries (lane, channel, due_at) WHERE status = 'SENDING'",
    # What ran out of time.
    "ix_deliveries_expiring": f"INDEX {{}} ON deliveries (lane, channel, expires_at) WHERE {OPEN}",
    # Given back by a worker that stopped: few, and only for a moment.
    "ix_deliveries_given_back": (
        "INDEX {} ON deliveries (lane, channel, due_at) WHERE status = 'RETRYING' AND problem IS NULL"
    ),
    # How many wait of each kind, and since when: in all practices, and in one.
    "ix_deliveries_waiting": f"INDEX {{}} ON deliveries (channel, kind, status, queued_at) WHERE {OPEN}",
    "ix_deliveries_waiting_practice": f"INDEX {{}} ON deliveries (practice_id, channel, queued_at) WHERE {OPEN}",
}
OLD_INDEXES = {"ix_deliveries_due": f"INDEX {{}} ON deliveries (lane, due_at) WHERE {OPEN}"}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("domain", "0026_moments")]

    operations = [*migration_indexes.created(INDEXES), *migration_indexes.dropped(OLD_INDEXES)]
