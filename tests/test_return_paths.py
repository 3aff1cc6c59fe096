"""The address that a mail comes back to: nobody makes one but the server, and it survives what mail systems do to addresses."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import return_paths, secrets
from tests.conftest import TEST_KEYS

HOME = "bounces@example.com"
LONGEST = "b" * 20 + "@example.com"


@pytest.fixture(autouse=True)
def _keys() -> None:
    secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))


@pytest.mark.parametrize("home", [HOME, LONGEST, "a+b@mail.example.com"])
def test_a_return_path_leads_to_its_delivery_whatever_the_case(home: str) -> None:
    delivery = uuid4()
    made = return_paths.make(home, delivery)
    assert len(made.partition("@")[0]) <= 64
    for written in (made, made.upper(), made.title(), f" <{made}> "):
        assert return_paths.delivery_of(home, written) == delivery


def test_it_holds_as_long_as_its_key_is_in_the_ring() -> None:
    delivery = uuid4()
    secrets.use_keys((TEST_KEYS[1].encode(),))
    made = return_paths.make(HOME, delivery)
    secrets.use_keys(tuple(key.encode() for key in TEST_KEYS))
    assert return_paths.delivery_of(HOME, made) == delivery
    secrets.use_keys((TEST_KEYS[0].encode(),))
    assert return_paths.delivery_of(HOME, made) is None


def test_nobody_makes_one_of_another_delivery_purpose_or_domain() -> None:
    first, second = return_paths.make(HOME, UUID(int=1)), return_paths.make(HOME, UUID(int=2))
    spliced = first.partition(".")[0] + "." + second.partition(".")[2]
    other = return_paths._text(secrets.derive("invitation", UUID(int=1), b"", secrets.newest_key_id())[:10])
    for address in (
        spliced,
        first.partition(".")[0] + f".{other}@example.com",
        first.replace("@example.com", "@example.org"),
        first.replace("bounces+", "bounce+"),
        first.replace("+", "-"),
        first[:-1],
        HOME,
        "",
        "@",
    ):
        assert return_paths.delivery_of(HOME, address) is None


@given(st.text() | st.from_regex(r"bounces\+[a-z2-7]{26}\.[a-z2-7]{16}@example\.com", fullmatch=True))
def test_what_was_not_made_here_is_nobodys(address: str) -> None:
    assert return_paths.delivery_of(HOME, address) is None


@given(st.uuids(), st.integers(0, 61), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567.+-@ "))
def test_no_character_of_it_can_be_changed_to_speak_of_another(delivery: UUID, place: int, other: str) -> None:
    made = return_paths.make(HOME, delivery)
    changed = made[:place] + other + made[place + 1 :]
    assert return_paths.delivery_of(HOME, changed) in (None, delivery)
