"""Each mutation answers through HTTP with each thing that it can answer beside refusals."""

import pytest
from graphql import GraphQLUnionType, get_named_type

from tests.conftest import Clock
from tests.refusals.answers import ANSWERS
from tests.refusals.scene import built, made, refusals
from tests.world import Api, Mail, World


def demanded() -> set[tuple[str, str]]:
    """Every pair that the schema has; signOut answers with a fact and not with a type."""
    root = built().mutation_type
    assert root is not None
    found = set()
    for mutation, field in root.fields.items():
        union = get_named_type(field.type)
        if isinstance(union, GraphQLUnionType):
            refused = {kind.name for kind in refusals(mutation)}
            found |= {(mutation, kind.name) for kind in union.types if kind.name not in refused}
        else:
            assert mutation == "signOut"
    return found


def test_every_answer_that_the_schema_has_is_driven_and_no_other() -> None:
    assert set(ANSWERS) == demanded()


@pytest.mark.parametrize(("mutation", "kind"), sorted(ANSWERS))
async def test_a_mutation_answers(world: World, api: Api, mail: Mail, clock: Clock, mutation: str, kind: str) -> None:
    result = await ANSWERS[mutation, kind](await made(world, api, mail, clock))
    assert result["__typename"] == kind, result


async def test_signing_out_answers_whether_there_was_a_session(world: World, api: Api) -> None:
    session = (await world.practice()).administrator.session
    for expected in (True, False):
        assert await api.query("mutation { signOut }", token=session) == {"signOut": expected}
