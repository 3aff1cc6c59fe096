"""What the search on the users tile compares: names and addresses without case, accents and apostrophes. And people with one name only.

The text is made by a trigger, so that each statement that writes a name, also one of the version before, leaves the right one. It is
folded here and not in Python so that what is typed is folded by the same rules, and not by an extension (`unaccent`), since not every
managed PostgreSQL has it. Nothing depends on the database's locale.
"""

import unicodedata

from tortoise import fields, migrations
from tortoise.migrations import operations as ops


def _is_plain(character: str) -> bool:
    return unicodedata.normalize("NFKD", character) == character


# Latin, Greek, Cyrillic and Armenian capitals that are no letter and a mark: those come apart by themselves.
_CAPITALS = [chr(code) for code in range(0x41, 0x587) if len(chr(code).lower()) == 1 and chr(code) != chr(code).lower()]
_CASE = {capital: capital.lower() for capital in _CAPITALS if _is_plain(capital) and _is_plain(capital.lower())}
_LIKE = dict(zip("øłđħıðŧŋς\u0649\u06cc\u06a9\u0629", "oldhidtnσ\u064a\u064a\u0643\u0647", strict=True))
_DOUBLE = {"ß": "ss", "ẞ": "ss", "æ": "ae", "œ": "oe", "þ": "th"}
_FROM = "".join(_CASE) + "".join(_LIKE)
_TO = "".join(_LIKE.get(small, small) for small in _CASE.values()) + "".join(_LIKE.values())

# Accents and vowel points, and characters that do not show.
_MARKS = (
    r"[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0e48-\u0e4b"
    r"\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f\u00ad\u200b-\u200f\u2060\ufeff]"
)
_APOSTROPHES = r"['`\u00b4\u02b9\u02bb\u02bc\u2018\u2019\u201b\u2032\uff07]"
_GAPS = r"[\s,;()" "/\u2010-\u2015\u2212\u201c-\u201f-]+"


def _doubled(sql: str) -> str:
    for letter, letters in _DOUBLE.items():
        sql = f"replace({sql}, '{letter}', '{letters}')"
    return sql


_ACCENTED = f"regexp_replace(normalize(regexp_replace(value, '{_APOSTROPHES.replace(chr(39), chr(39) * 2)}', '', 'g'), NFKD), '{_MARKS}', '', 'g')"
_FOLDED = _doubled(f"translate({_ACCENTED}, '{_FROM}', '{_TO}')")

# Most names are plain ASCII, and take the short way.
FUNCTION = f"""
CREATE FUNCTION search_folded(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $sql$
    SELECT trim(regexp_replace(
        CASE WHEN value ~ '^[ -~]*$' THEN lower(translate(value, '''`', '') COLLATE "C") ELSE {_FOLDED} END,
        '{_GAPS}', ' ', 'g'
    ))
$sql$
"""
TRIGGER_FUNCTION = """
CREATE FUNCTION users_search_text() RETURNS trigger LANGUAGE plpgsql AS $sql$
BEGIN
    NEW.search_text := ' ' || search_folded(concat_ws(' ', NEW.first_name, NEW.last_name, NEW.email));
    RETURN NEW;
END
$sql$
"""
# A restored dump runs it with an empty search path.
PIN = """
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION users_search_text() SET search_path = pg_catalog, %I, pg_temp', current_schema());
END $$
"""
TRIGGER = """
CREATE TRIGGER users_search_text BEFORE INSERT OR UPDATE OF first_name, last_name, email ON users
    FOR EACH ROW EXECUTE FUNCTION users_search_text()
"""
FILL = "UPDATE users SET search_text = ' ' || search_folded(concat_ws(' ', first_name, last_name, email))"

ONE_NAME = "ALTER TABLE users DROP CONSTRAINT ck_users_last_name, ADD CONSTRAINT ck_users_last_name CHECK ({})"
WITH_DASHES = "UPDATE users SET last_name = '-' WHERE last_name = ''"


class Migration(migrations.Migration):
    dependencies = [("domain", "0021_unreadable_returns")]

    operations = [
        ops.RunSQL(FUNCTION, "DROP FUNCTION search_folded"),
        ops.AddField(model_name="User", name="search_text", field=fields.TextField(null=True)),
        ops.RunSQL(TRIGGER_FUNCTION, "DROP FUNCTION users_search_text"),
        ops.RunSQL(PIN, "SELECT 1"),
        ops.RunSQL(TRIGGER, "DROP TRIGGER users_search_text ON users"),
        ops.RunSQL(FILL, "SELECT 1"),
        ops.RunSQL(
            ONE_NAME.format("last_name = btrim(last_name)"), ONE_NAME.format("char_length(last_name) BETWEEN 1 AND 60")
        ),
        ops.RunSQL("SELECT 1", WITH_DASHES),  # when it is taken back, this comes first
    ]
