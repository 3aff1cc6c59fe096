"""Finding people and practices by a part of what they are called, for the operator, in SQL."""

from uuid import UUID


def contains(column: str, place: str) -> str:
    """A condition: the column, folded as `search_folded` does, contains what stands in a parameter, without case and accents.

    column, place: SQL of this program's own, such as "u.search_text" and "$1".
    """
    return rf"{column} LIKE '%' || regexp_replace(search_folded({place}), '([\\%_])', '\\\1', 'g') || '%'"


def id_in(text: str) -> UUID | None:
    """The id that was typed, if it is one and nothing else."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None
