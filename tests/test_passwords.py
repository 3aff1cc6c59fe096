"""Passwords: long ones are taken whatever they are made of, and what is kept of them opens nothing without the server's key."""

import asyncio
import re
import threading
import time
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import passwords, secrets
from domain.errors import Busy, PasswordProblem, PasswordRejected
from domain.passwords import MAX_LENGTH, MAX_WAITING, MIN_LENGTH, is_right

WAIT_SECONDS = 60.0  # a machine may be slow; what is waited for comes much sooner

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32
PASSWORD = "tiger lamp quarry moss"
OWN_WORDS = ("Grace", "Hopper", "grace.hopper@clinic.example", "Elm Street Practice")
ANIMALS = "🐙🦑🦀🐡🐠🐟🐬🐳🐋🦈🐊🐅🐆🦓🦍"

# OWASP Password Storage Cheat Sheet, Argon2id: memory in KiB against passes, one lane.
FLOORS = [(47_104, 1), (19_456, 2), (12_288, 3), (9_216, 4), (7_168, 5)]
PHC = re.compile(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")


@pytest.fixture(autouse=True)
def _own_ring() -> Iterator[None]:
    before = secrets._ring
    secrets.use_keys((NEW_KEY, OLD_KEY))
    yield
    secrets._ring = before


async def problems(password: str) -> list[PasswordProblem]:
    """What is wrong with a new password."""
    try:
        await passwords.reject_weak(password, OWN_WORDS)
    except PasswordRejected as rejected:
        return rejected.problems
    return []


LONG = "tiger lamp quarry moss, seven owls under a green bridge; nobody counts the boats that leave at dawn but the harbour cat and me, A!"


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("tiger lamp qua", [PasswordProblem.TOO_SHORT]),
        ("tiger lamp quar", []),
        (ANIMALS[:14], [PasswordProblem.TOO_SHORT]),
        (ANIMALS, []),
        (LONG[:127] + "!", []),
        (LONG[:127] + "🐙", []),
        (LONG[:127] + "!!", [PasswordProblem.TOO_LONG]),
        (LONG[:127] + "🐙🐙", [PasswordProblem.TOO_LONG]),
        (LONG * 1000, [PasswordProblem.TOO_LONG]),
        # Counted as it is kept: composed, and ligatures taken apart.
        ("tiger lamp qu" + "e\u0301", [PasswordProblem.TOO_SHORT]),
        ("tiger lamp qu" + "e\u0301e\u0301", []),
        ("tiger lamp qu" + "ﬁ", []),
        (LONG[:127] + "ﬁ", [PasswordProblem.TOO_LONG]),
        ("", [PasswordProblem.TOO_SHORT]),
    ],
)
async def test_a_password_has_15_to_128_characters(password: str, expected: list[PasswordProblem]) -> None:
    assert await problems(password) == expected


async def test_a_refusal_tells_the_lengths() -> None:
    with pytest.raises(PasswordRejected) as refused:
        await passwords.reject_weak("short", OWN_WORDS)
    assert (refused.value.min_length, refused.value.max_length) == (MIN_LENGTH, MAX_LENGTH) == (15, 128)


@pytest.mark.parametrize(
    "password",
    [
        "only lower case words",
        "ONLY UPPER CASE WORDS",
        "onelongwordwithoutspaces",
        "938475610293847",
        "¡/&%·$=)(?¿^*Ç_:;",
        "тигр лампа карьер мох",
        "虎灯采石场苔藓桥船港口猫海鸥夜",
        "   tiger   lamp   quarry   ",
        "correct horse battery staple",
        LONG[:100],
        # It has a common word in it, and is none.
        "my password is a green bridge",
        # It has somebody's name in it, and more.
        "grace rides a green bicycle",
        "practice makes nobody perfect",
    ],
)
async def test_any_kind_of_characters_will_do(password: str) -> None:
    assert await problems(password) == []


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("C", "Z")), min_size=20, max_size=60))
async def test_no_character_that_prints_is_refused(password: str) -> None:
    found = await problems(password)
    assert PasswordProblem.TOO_SHORT not in found or len(unicodedata.normalize("NFKC", password)) < MIN_LENGTH


@pytest.mark.parametrize(
    "password",
    [
        "qwertyuiop12345",
        "123456789012345",
        "111111111111111",
        "aaaaaaaaaaaaaaaaaaaa",
        "               ",
        "abcdefghijklmnopqrst",
        "12345678901234567890",
        "qwertyuiopasdfghjkl",
        "abcabcabcabcabcabc",
        "a a a a a a a a a",
        "passwordpassword",
        "PasswordPassword",
        "password12345678",
        "P@ssw0rdP@ssw0rd",
        "iloveyouiloveyou",
        "ｐａｓｓｗｏｒｄｐａｓｓｗｏｒｄ",
        "x" * 128,
    ],
)
async def test_a_common_or_easily_guessed_password_is_refused(password: str) -> None:
    assert await problems(password) == [PasswordProblem.TOO_COMMON]


@pytest.mark.parametrize(
    "password",
    [
        "grace hopper 1906",
        "HopperGraceHopper",
        "grace.hopper@clinic.example",
        "Elm Street Practice",
        "elmstreet practice1",
        "graceelmstreet99",
        "Practice Access 24",
        "practiceaccess!!!",
    ],
)
async def test_a_password_of_ones_own_words_is_refused(password: str) -> None:
    assert PasswordProblem.CONTAINS_OWN_NAME in await problems(password)


@pytest.mark.parametrize(
    "password",
    ["(4@8({[<3691!|1|70$5+7%2)" * 3, "".join(chr(number) for number in range(33, 105)), "x" * 128, "0123456789" * 12],
)
async def test_no_password_takes_long_to_judge(password: str) -> None:
    before = time.process_time()
    await problems(password)
    assert time.process_time() - before < 0.5


async def test_all_that_is_wrong_is_told_at_once() -> None:
    assert await problems("grace") == [
        PasswordProblem.TOO_SHORT,
        PasswordProblem.TOO_COMMON,
        PasswordProblem.CONTAINS_OWN_NAME,
    ]


async def test_a_password_is_kept_as_argon2id_at_or_above_the_floor() -> None:
    kept, key_id = await passwords.hashed(PASSWORD)
    found = PHC.fullmatch(kept)
    assert found is not None, kept
    memory, passes, lanes, salt, tag = found.groups()
    assert any(int(memory) >= least and int(passes) >= times for least, times in FLOORS)
    assert int(lanes) == 1
    assert len(salt) >= 22  # 16 bytes
    assert len(tag) >= 43  # 32 bytes
    assert key_id == secrets.newest_key_id()
    assert PASSWORD not in kept


async def test_the_same_password_is_never_kept_the_same() -> None:
    (first, _), (second, _) = await passwords.hashed(PASSWORD), await passwords.hashed(PASSWORD)
    assert first != second


WRONG = [
    "",
    PASSWORD[:-1],
    PASSWORD + "!",
    PASSWORD[:-1] + "t",
    PASSWORD + " ",
    " " + PASSWORD,
    PASSWORD.upper(),
    PASSWORD + "\x00",
    PASSWORD.replace(" ", ""),
]


@pytest.mark.parametrize("wrong", WRONG)
async def test_only_the_very_password_is_right(wrong: str) -> None:
    kept, key_id = await passwords.hashed(PASSWORD)
    assert await is_right(PASSWORD, kept, key_id)
    assert not await is_right(wrong, kept, key_id)


async def test_the_last_of_128_characters_matters() -> None:
    for longest in (LONG[:127] + "!", "ﷺ" * 7 + "x" * 2, "e\u0301" * 127 + "!"):
        assert len(passwords.normalized(longest)) == MAX_LENGTH
        kept, key_id = await passwords.hashed(longest)
        assert await is_right(longest, kept, key_id)
        assert not await is_right(longest[:-1] + "?", kept, key_id)
        assert not await is_right(longest + "!", kept, key_id)


@pytest.mark.parametrize(
    ("set_as", "typed_as"),
    [
        ("é à ü quarry moss", "e\u0301 a\u0300 u\u0308 quarry moss"),
        ("ﬁne lamp quarry moss", "fine lamp quarry moss"),
        ("ｔｉｇｅｒ lamp quarry", "tiger lamp quarry"),
        ("tiger\u00a0lamp\u2003quarry", "tiger lamp quarry"),
        ("\u1f82" * 15, "α\u0313\u0300\u0345" * 15),
    ],
)
async def test_a_password_is_the_same_on_every_keyboard(set_as: str, typed_as: str) -> None:
    assert set_as != typed_as
    for one, other in ((set_as, typed_as), (typed_as, set_as)):
        kept, key_id = await passwords.hashed(one)
        assert await is_right(other, kept, key_id)


async def test_what_is_kept_verifies_nothing_without_the_key() -> None:
    kept, key_id = await passwords.hashed(PASSWORD)
    for raw in (PASSWORD, PASSWORD.encode()):
        assert not passwords._verify(kept, raw if isinstance(raw, bytes) else raw.encode())
    secrets.use_keys((b"s" * 32,))
    with pytest.raises(secrets.KeyUnknown):
        await is_right(PASSWORD, kept, key_id)
    assert not await is_right(PASSWORD, kept, secrets.newest_key_id())


async def test_two_keys_are_good_at_once_and_the_older_hash_is_due_for_the_newer() -> None:
    secrets.use_keys((OLD_KEY,))
    old, old_id = await passwords.hashed(PASSWORD)
    assert not passwords.is_outdated(old, old_id)

    secrets.use_keys((NEW_KEY, OLD_KEY))
    new, new_id = await passwords.hashed(PASSWORD)
    assert await is_right(PASSWORD, old, old_id)
    assert await is_right(PASSWORD, new, new_id)
    assert not await is_right(PASSWORD, old, new_id)
    assert passwords.is_outdated(old, old_id)
    assert not passwords.is_outdated(new, new_id)


def test_a_hash_of_weaker_parameters_is_due_for_stronger_ones() -> None:
    salt_and_tag = "c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
    now = f"$argon2id$v=19$m=19456,t=2,p=1${salt_and_tag}"
    assert not passwords.is_outdated(now, secrets.newest_key_id())
    for weaker in (now.replace("19456", "4096"), now.replace("t=2", "t=1"), now.replace("argon2id", "argon2i")):
        assert passwords.is_outdated(weaker, secrets.newest_key_id())


async def test_no_password_is_right_where_there_is_none() -> None:
    kept, key_id = await passwords.hashed(PASSWORD)
    assert await is_right(PASSWORD, kept, key_id)
    for stored, named in ((None, None), (None, key_id), (kept, None), ("!", key_id), ("", key_id)):
        assert not await is_right(PASSWORD, stored, named)
    for guess in ("", "no such password", PASSWORD * 1000):
        assert not await is_right(guess, None, None)


async def test_more_than_may_wait_are_turned_away_and_the_rest_is_served() -> None:
    kept, key_id = await passwords.hashed(PASSWORD)
    answers = await asyncio.gather(
        *(is_right(PASSWORD, kept, key_id) for _ in range(MAX_WAITING + 20)), return_exceptions=True
    )
    assert answers.count(True) == MAX_WAITING
    assert sum(isinstance(answer, Busy) for answer in answers) == 20
    assert await is_right(PASSWORD, kept, key_id)


async def test_the_loop_goes_on_while_passwords_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, key_id = await passwords.hashed(PASSWORD)
    loop_went_on = threading.Event()
    monkeypatch.setattr(passwords, "_verify", lambda *_: loop_went_on.wait(WAIT_SECONDS))
    checks = asyncio.gather(*(is_right(PASSWORD, kept, key_id) for _ in range(16)))
    await asyncio.sleep(0)  # they have begun, and none ends before the next line
    loop_went_on.set()
    assert await checks == [True] * 16


async def test_one_who_hangs_up_frees_the_place() -> None:
    kept, key_id = await passwords.hashed(PASSWORD)
    for _ in range(3):
        waiting = [asyncio.create_task(is_right(PASSWORD, kept, key_id)) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await is_right(PASSWORD, kept, key_id)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await is_right(PASSWORD, kept, key_id)
