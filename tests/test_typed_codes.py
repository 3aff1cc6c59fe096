"""Codes as people type and paste them: what was meant is read, and what cannot be a code costs no guess."""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import database, secrets, typed_codes
from domain.contents import Content
from domain.errors import InputInvalid
from domain.models.columns import ChallengePurpose
from domain.outbox import Kind
from domain.secrets import PAC_ALPHABET, PAC_LENGTH
from tests.conftest import Clock
from tests.refusals.scene import made
from tests.refusals.signing_in import ASKED, answer
from tests.test_secrets import LOOK_ALIKES
from tests.world import Api, Json, Mail, World
from workers.messages import Messages

TEXT = (
    "042917 is your Practice Access code to sign in. Good for 10 minutes. We never ask for it.\n\n@app.example #042917"
)

READ = [
    "042917",
    " 042 917\n",
    "042-917",
    "042–917",
    "0 4 2 9 1 7",
    "0, 4, 2, 9, 1, 7.",
    "(042917)",
    "\u202a042917\u202c",
    "042\u200b917\ufeff",
    "\u2060042\u00a0917\u00ad",
    "٠٤٢٩١٧",  # Arabic-Indic
    "۰۴۲۹۱۷",  # Persian
    "०४२९१७",  # Devanagari
    "０４２９１７",  # full width
    "০৪২ ৯১৭",  # Bengali
    TEXT,
    TEXT + "\n",
    TEXT.partition("\n")[0],
    "@app.example #042917",
    "@app.example #042917 @frame.example",
    "Call 2025550100 about order 555666.\n@app.example #042917",
    "Your code: 042917",
    "G-042917",
]
NOT_READ = [
    "",
    " ",
    "04291",
    "0429171",
    "abcdef",
    "O42917",
    "042917 042917",
    "+1 202 555 0100",
    "042917 or 123456?",
    "Your code is 0, 4, 2, 9, 1, 7",
    "⓪④②⑨①⑦",  # not digits, but ornaments
    "½42917",
    "042917" + " " * 1000,
    "{}",
]


@pytest.mark.parametrize("typed", READ)
def test_a_security_code_is_read_however_it_is_typed_or_pasted(typed: str) -> None:
    assert typed_codes.security_code(typed) == "042917"


@pytest.mark.parametrize("typed", NOT_READ)
def test_what_cannot_be_a_security_code_is_told(typed: str) -> None:
    with pytest.raises(InputInvalid) as refusal:
        typed_codes.security_code(typed)
    assert [problem.path for problem in refusal.value.problems] == [("code",)]


@given(st.text(max_size=60))
def test_whatever_is_typed_is_six_ascii_digits_or_refused(typed: str) -> None:
    try:
        read = typed_codes.security_code(typed)
    except InputInvalid:
        return
    assert len(read) == 6
    assert set(read) <= set(string.digits)


@settings(deadline=None)  # the first one compiles the templates
@given(st.from_regex(r"[0-9]{6}", fullmatch=True))
def test_the_text_message_that_we_send_can_be_pasted_whole(code: str) -> None:
    words = Messages("https://app.practice-access.example")
    text = words.text(Content(recipient="+12025550143", code=code, purpose=ChallengePurpose.SIGN_IN))
    assert typed_codes.security_code(text) == code


NOISE = st.text(alphabet=" -–—_.\t\u00a0\u200b\u2060", max_size=3)


@given(st.text(alphabet=PAC_ALPHABET, min_size=PAC_LENGTH, max_size=PAC_LENGTH), st.data())
def test_a_practice_access_code_is_read_however_it_is_typed(code: str, data: st.DataObject) -> None:
    typed = ""
    for character in code:
        alike = next((group for group in LOOK_ALIKES if character in group), character)
        spelled = data.draw(st.sampled_from(alike))
        wide = chr(ord(spelled) + 0xFEE0)
        typed += data.draw(NOISE) + data.draw(st.sampled_from([spelled, spelled.lower(), wide]))
    assert typed_codes.practice_access_code(typed + data.draw(NOISE)) == code


@given(st.text(alphabet=PAC_ALPHABET, min_size=PAC_LENGTH, max_size=PAC_LENGTH), st.integers(0, 9), st.data())
def test_a_practice_access_code_with_one_other_letter_is_another(code: str, place: int, data: st.DataObject) -> None:
    other = data.draw(st.sampled_from(PAC_ALPHABET.replace(code[place], "")))
    assert not secrets.matches(code, typed_codes.practice_access_code(code[:place] + other + code[place + 1 :]))
    assert secrets.matches(code, typed_codes.practice_access_code(code))


@pytest.mark.parametrize("typed", ["", " - ", "ACDEFGHJK", "ACDEFGHJKM4", "АСDEFGHJKM", "é", "ACDEÉFGHJK", "A" * 2000])
def test_what_cannot_be_a_practice_access_code_is_told(typed: str) -> None:
    with pytest.raises(InputInvalid) as refusal:
        typed_codes.practice_access_code(typed)
    assert [problem.path for problem in refusal.value.problems] == [("practiceAccessCode",)]


def test_a_practice_access_code_in_the_digits_of_another_script_is_read() -> None:
    assert typed_codes.practice_access_code("acd ef-٠١٢٣٤") == "ACDEF01234"


async def _counters() -> list[Json]:
    """Every counter of guesses, and what was guessed at each code."""
    return await database.fetch(
        "SELECT key, failures FROM guess_counters UNION ALL SELECT id::text, attempts FROM security_codes ORDER BY 1"
    )


@pytest.mark.parametrize("mutation", sorted(ASKED))
async def test_what_cannot_be_a_security_code_costs_no_guess_and_the_right_one_in_other_digits_is_taken(
    world: World, api: Api, mail: Mail, clock: Clock, mutation: str
) -> None:
    scene = await made(world, api, mail, clock)
    asked = await ASKED[mutation](scene)
    code = await scene.world.code(asked.token, asked.phone)
    before = await _counters()
    for typed in ("12345", "not digits", "1234567"):
        refused = await answer(scene, mutation, asked, typed)
        assert (refused["__typename"], refused["problems"][0]["path"]) == ("InputInvalid", ["code"])
    assert await _counters() == before
    eastern = code.translate(str.maketrans(string.digits, "٠١٢٣٤٥٦٧٨٩"))
    done = await answer(scene, mutation, asked, eastern)
    assert done["__typename"] not in ("InputInvalid", "CodeIncorrect"), done


async def test_a_phone_is_proved_by_a_whole_pasted_text_and_what_is_no_code_costs_no_guess(
    world: World, api: Api, mail: Mail
) -> None:
    practice = await world.practice()
    token, phone = await world.enrolled(practice, "new@clinic.example"), world.number()
    await api.do("sendPhoneCode", {"enrollmentToken": token, "phone": phone, "channel": "SMS"})
    sent = await mail.latest(phone)
    assert sent.row.kind is Kind.SECURITY_CODE
    before = await _counters()
    assert (await api.do("verifyPhone", {"enrollmentToken": token, "code": "12345"}))["__typename"] == "InputInvalid"
    assert await _counters() == before
    text = Messages("https://app.practice-access.example").text(sent.content)
    assert (await api.do("verifyPhone", {"enrollmentToken": token, "code": text}))["nextStep"] == "SET_PASSWORD"


async def test_what_cannot_be_a_practice_access_code_costs_no_guess(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    scene = await made(world, api, mail, clock)
    link = await scene.link()
    before = await _counters()
    for typed in ("", "ACDEF-0123", "ACDEF-012345", "Пароль"):
        values = {"token": link, "practiceAccessCode": typed}
        refused = await api.do("acceptInvitation", values)
        assert refused["problems"][0]["path"] == ["practiceAccessCode"]
    assert await _counters() == before
    wrong = await api.do("acceptInvitation", {"token": link, "practiceAccessCode": "XXXXX-XXXXX"})
    assert (wrong["__typename"], wrong["attemptsLeft"]) == ("PracticeAccessCodeIncorrect", 9)


async def test_on_a_new_device_a_code_that_cannot_be_one_is_told_before_the_access_code_is_counted(
    world: World, api: Api, mail: Mail, clock: Clock
) -> None:
    scene = await made(world, api, mail, clock)
    await scene.settings("practice_access_code", "NEW_DEVICE")
    grace = await scene.staff()
    challenge = await world.challenged(grace)
    code = await world.code(challenge, grace.phone)
    before = await _counters()
    values = {"challengeToken": challenge, "code": "12345", "practiceAccessCode": "XXXXX-XXXXX"}
    assert (await api.do("verifyDevice", values))["problems"][0]["path"] == ["code"]
    values |= {"code": code, "practiceAccessCode": "ACDEF"}
    assert (await api.do("verifyDevice", values))["problems"][0]["path"] == ["practiceAccessCode"]
    assert await _counters() == before
    values |= {"practiceAccessCode": scene.practice.practice_access_code}
    assert (await api.do("verifyDevice", values))["__typename"] == "SignedIn"
