"""Derived secrets and random tokens: nobody can guess, bend or reuse one, and people can still type them."""

import math
import re
import string
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import secrets
from domain.secrets import PAC_ALPHABET, PAC_LENGTH

OLD_KEY, NEW_KEY, STRANGE_KEY = b"o" * 32, b"n" * 32, b"s" * 32
ROW = uuid.UUID("018f3b6c-7d2a-7c3e-9d4f-0123456789ab")
NONCE = bytes(range(16))
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"

# Who reads it over the phone, or off a slip of paper, takes these for each other.
LOOK_ALIKES = ["8B", "1IL", "0OQ", "5S", "2Z", "UV"]

LINK_PURPOSES = ("invitation", "verify-email", "enrollment")


@pytest.fixture(autouse=True)
def _own_ring() -> Iterator[None]:
    before = secrets._ring
    secrets.use_keys((NEW_KEY, OLD_KEY))
    yield
    secrets._ring = before


def chi_square(counts: Counter[str], kinds: int) -> float:
    """How far counts are from all being the same; about `kinds` for an honest die."""
    expected = counts.total() / kinds
    return sum((count - expected) ** 2 / expected for count in counts.values()) + (kinds - len(counts)) * expected


def most_for(kinds: int) -> float:
    """A chi-square that an honest die goes beyond less than once in 10^9 runs (six standard deviations)."""
    return (kinds - 1) + 6 * math.sqrt(2 * (kinds - 1))


def test_security_codes_are_uniform_and_keep_their_zeros() -> None:
    key_id = secrets.newest_key_id()
    codes = [secrets.security_code(uuid.UUID(int=number), NONCE, key_id) for number in range(100_000)]
    assert all(re.fullmatch("[0-9]{6}", code) for code in codes)
    for place in range(6):
        assert chi_square(Counter(code[place] for code in codes), 10) < most_for(10)
    assert chi_square(Counter(code[:3] for code in codes), 1000) < most_for(1000)
    assert chi_square(Counter(code[3:] for code in codes), 1000) < most_for(1000)
    assert any(code.startswith("000") for code in codes)
    assert 95_000 < len(set(codes)) < 95_400  # 10^6 · (1 - e^-0.1) is 95 163


def test_practice_access_codes_are_uniform() -> None:
    key_id = secrets.newest_key_id()
    codes = [secrets.practice_access_code(uuid.UUID(int=number), NONCE, key_id) for number in range(50_000)]
    assert all(len(code) == PAC_LENGTH == 10 for code in codes)
    for place in range(PAC_LENGTH):
        assert chi_square(Counter(code[place] for code in codes), len(PAC_ALPHABET)) < most_for(len(PAC_ALPHABET))
    assert len(set(codes)) == len(codes)


def test_a_practice_access_code_has_no_two_letters_that_look_alike() -> None:
    assert len(set(PAC_ALPHABET)) == len(PAC_ALPHABET)
    assert set(PAC_ALPHABET) < set(string.ascii_uppercase + string.digits)
    for group in LOOK_ALIKES:
        assert len(set(group) & set(PAC_ALPHABET)) == 1, group
    assert len(PAC_ALPHABET) ** PAC_LENGTH > 2**48


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.sampled_from(LINK_PURPOSES))
def test_a_link_token_names_its_row_and_is_made_again_the_same(row: bytes, nonce: bytes, purpose: str) -> None:
    row_id = uuid.UUID(bytes=row)
    token = secrets.link_token(purpose, row_id, nonce, secrets.newest_key_id())
    assert re.fullmatch(r"[A-Za-z0-9_-]{46}", token)
    assert secrets.link_row_id(token) == row_id
    assert secrets.is_link_token(token, purpose, row_id, nonce, secrets.newest_key_id())
    assert secrets.link_token(purpose, row_id, nonce, secrets.newest_key_id()) == token


def _is_good(token: str) -> bool:
    """As those do who are handed a token: the row it speaks of first, then the proof."""
    row_id = secrets.link_row_id(token)
    return row_id is not None and secrets.is_link_token(token, "invitation", row_id, NONCE, secrets.newest_key_id())


def test_a_link_token_with_any_other_character_is_refused() -> None:
    # Every place, the last one too: of its six bits four are spare, and say nothing to a decoder that is not strict.
    token = secrets.link_token("invitation", ROW, NONCE, secrets.newest_key_id())
    assert _is_good(token)
    for place, character in enumerate(token):
        for other in BASE64.replace(character, "") + "+/= \n.\x00é\ud800":
            assert not _is_good(token[:place] + other + token[place + 1 :]), (place, other)


def test_other_spellings_of_a_link_token_are_refused() -> None:
    tokens = (
        secrets.link_token("invitation", ROW, NONCE[:15] + bytes([n]), secrets.newest_key_id()) for n in range(256)
    )
    token = next(token for token in tokens if {"-", "_"} < set(token))
    last_nonce = next(
        NONCE[:15] + bytes([n])
        for n in range(256)
        if secrets.link_token("invitation", ROW, NONCE[:15] + bytes([n]), secrets.newest_key_id()) == token
    )
    spellings = [
        token + "=",
        token + "==",
        token + "\n",
        " " + token,
        token + token,
        token[:-1],
        token[1:],
        token.swapcase(),
        token.replace("-", "+").replace("_", "/"),
        token.replace("-", "%2D"),
        "".join(chr(ord(character) + 0xFEE0) for character in token),
        "",
    ]
    assert secrets.is_link_token(token, "invitation", ROW, last_nonce, secrets.newest_key_id())
    for spelling in spellings:
        assert not secrets.is_link_token(spelling, "invitation", ROW, last_nonce, secrets.newest_key_id()), spelling


@pytest.mark.parametrize("purpose", LINK_PURPOSES)
def test_a_link_token_is_good_for_one_purpose_row_and_nonce_only(purpose: str) -> None:
    newest = secrets.newest_key_id()
    token = secrets.link_token(purpose, ROW, NONCE, newest)
    assert secrets.is_link_token(token, purpose, ROW, NONCE, newest)
    for other in (*LINK_PURPOSES, "security-code", "practice-access-code", purpose + "\0", ""):
        if other != purpose:
            assert not secrets.is_link_token(token, other, ROW, NONCE, newest)
    assert not secrets.is_link_token(token, purpose, uuid.UUID(int=ROW.int ^ 1), NONCE, newest)
    assert not secrets.is_link_token(token, purpose, ROW, NONCE[::-1], newest)


def test_what_the_database_holds_says_nothing_without_the_key() -> None:
    token = secrets.link_token("invitation", ROW, NONCE, secrets.newest_key_id())
    code = secrets.security_code(ROW, NONCE, secrets.newest_key_id())
    secrets.use_keys((STRANGE_KEY,))
    assert secrets.link_token("invitation", ROW, NONCE, secrets.newest_key_id()) != token
    assert secrets.security_code(ROW, NONCE, secrets.newest_key_id()) != code


def test_a_new_key_is_for_new_rows_and_the_old_one_still_verifies() -> None:
    secrets.use_keys((OLD_KEY,))
    old_id = secrets.newest_key_id()
    token, code = secrets.link_token("invitation", ROW, NONCE, old_id), secrets.practice_access_code(ROW, NONCE, old_id)

    secrets.use_keys((NEW_KEY, OLD_KEY))
    assert secrets.newest_key_id() != old_id
    assert secrets.is_link_token(token, "invitation", ROW, NONCE, old_id)
    assert not secrets.is_link_token(token, "invitation", ROW, NONCE, secrets.newest_key_id())
    assert secrets.practice_access_code(ROW, NONCE, old_id) == code

    secrets.use_keys((NEW_KEY,))
    with pytest.raises(secrets.KeyUnknown):
        secrets.is_link_token(token, "invitation", ROW, NONCE, old_id)
    for derive in (secrets.security_code, secrets.practice_access_code):
        with pytest.raises(secrets.KeyUnknown):
            derive(ROW, NONCE, old_id)
    with pytest.raises(secrets.KeyUnknown):
        secrets.peppered("correct horse battery staple", old_id)


def test_a_key_is_named_without_giving_it_away() -> None:
    for key_id, key in secrets.ring().keys.items():
        assert re.fullmatch("[0-9a-f]{8}", key_id)
        assert key_id.encode() not in key
        assert key.hex()[:8] != key_id


def test_counters_keep_their_names_when_a_key_is_added() -> None:
    secrets.use_keys((OLD_KEY,))
    name = secrets.fingerprint("password", "grace@clinic.example")
    secrets.use_keys((NEW_KEY, OLD_KEY))
    assert secrets.fingerprint("password", "grace@clinic.example") == name
    assert secrets.fingerprint("password", "ada@clinic.example") != name
    assert secrets.fingerprint("sign-up", "grace@clinic.example") != name
    assert "grace" not in name


def test_session_tokens_are_long_random_and_kept_as_a_hash() -> None:
    tokens = {secrets.new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)
    hashes = {secrets.token_hash(token) for token in tokens}
    assert len(hashes) == 1000
    assert all(len(kept) == 32 for kept in hashes)
    token = tokens.pop()
    assert secrets.token_hash(token) == secrets.token_hash(token)
    assert secrets.token_hash(token[:-1]) != secrets.token_hash(token)


@pytest.mark.parametrize(("given", "is_right"), [("000123", True), ("123", False), ("000124", False), ("", False)])
def test_a_code_with_leading_zeros_is_compared_as_text(given: str, is_right: bool) -> None:
    assert secrets.matches("000123", given) is is_right
