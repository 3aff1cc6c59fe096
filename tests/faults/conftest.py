"""Fixtures of the fault tests."""

import pytest

from tests.faults.scene import Scene
from tests.parts import Parts


@pytest.fixture
def scene(parts: Parts) -> Scene:
    """Real parts, with nothing of the product running yet."""
    return Scene(parts)
