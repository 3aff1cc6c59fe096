"""Taking one of several budgets by one statement: of all of them or of none.

An act that takes them in its own transaction keeps their rows locked until it commits. Some of these rows are everybody's, so a process
that stops before its commit would stop everybody.
"""

from tortoise import migrations
from tortoise.migrations import operations as ops

# What is plainly used up is told without a write and without a lock. Then the rows are taken in the order given. When one turns out to be
# used up after all, those before it are set back; nobody has seen them, since they are locked until this statement has ended.
FUNCTION = """
CREATE FUNCTION take_budgets(wanted text[], lengths float8[], amounts int[], takes int)
RETURNS TABLE (place int, starts timestamptz, ends timestamptz, is_used_up boolean) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    moments timestamptz[] := ARRAY(
        SELECT to_timestamp(floor(extract(epoch FROM clock_now()) / one) * one)
        FROM unnest(lengths) WITH ORDINALITY AS l (one, at) ORDER BY at
    );
BEGIN
    RETURN QUERY
        SELECT w.at::int, w.moment, w.moment + w.seconds * interval '1 second', true
        FROM unnest(wanted, lengths, amounts, moments) WITH ORDINALITY AS w (name, seconds, amount, moment, at)
            LEFT JOIN budgets b ON b.key = w.name AND b.window_starts_at = w.moment
        WHERE coalesce(b.used, 0) + takes > w.amount ORDER BY w.at;
    IF FOUND THEN
        RETURN;
    END IF;
    FOR n IN 1 .. cardinality(wanted) LOOP
        INSERT INTO budgets AS b (key, window_starts_at, window_ends_at, used)
        VALUES (wanted[n], moments[n], moments[n] + lengths[n] * interval '1 second', takes)
        ON CONFLICT (key, window_starts_at) DO UPDATE SET used = b.used + takes WHERE b.used + takes <= amounts[n];
        IF NOT FOUND THEN
            UPDATE budgets b SET used = b.used - takes
            FROM unnest(wanted[: n - 1], moments[: n - 1]) AS w (name, moment)
            WHERE b.key = w.name AND b.window_starts_at = w.moment;
            RETURN QUERY SELECT n, moments[n], moments[n] + lengths[n] * interval '1 second', true;
            RETURN;
        END IF;
    END LOOP;
    RETURN QUERY
        SELECT w.at::int, w.moment, w.moment + w.seconds * interval '1 second', false
        FROM unnest(lengths, moments) WITH ORDINALITY AS w (seconds, moment, at) ORDER BY w.at;
END $$
"""


class Migration(migrations.Migration):
    """Add the function."""

    dependencies = [("domain", "0023_corrections")]

    operations = [ops.RunSQL(FUNCTION, "DROP FUNCTION take_budgets(text[], float8[], int[], int)")]
