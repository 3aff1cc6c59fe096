"""What messages say, and what names cannot do to them."""

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from domain import settings
from domain.contents import Content
from domain.models.columns import ChallengePurpose, PracticeNoticeKind
from domain.outbox import Kind, Notice
from domain.settings import MAX_CLIENT_HOST_LENGTH
from workers.messages import MAIL_KINDS, MAX_CODE_TEXT_LENGTH, USES, Messages
from workers.send_voice import twiml

CLIENT = "https://app.clinic.example"
MESSAGES = Messages(CLIENT)
TOKEN = "AaIHPXXdexCUs2CXUD5qEmn7NmciCboazf9f2QYHnO9kGw"
CONTENT = Content(
    recipient="grace@clinic.example",
    first_name="Grace",
    practice_name="Elm Street Practice",
    inviter_name="Ada Lovelace",
    time_zone="America/Chicago",
    link_token=TOKEN,
    code="3RK5V9Y92D",
    expires_at=datetime(2026, 11, 30, 6, 9, tzinfo=UTC),
    notice="new_device",
    occurred_at=datetime(2026, 11, 23, 6, 9, tzinfo=UTC),
    person_name="Mary Jackson",
)
URL = re.compile(r"https?://[^\s\"<>]+")
# What the GSM 03.38 alphabet has that takes one septet a character, as far as our texts could use it.
GSM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;'\"!?#@%&()*+-/<=>$_\n"
DELIVERY = uuid.UUID("01a20706-033d-7751-ae35-4466311ca752")


@pytest.mark.parametrize("kind", MAIL_KINDS)
def test_links_lead_to_the_configured_client_and_nowhere_else(kind: Kind) -> None:
    mail = MESSAGES.mail(kind, CONTENT)
    for text in (mail.text, mail.html):
        assert all(url.startswith(CLIENT) for url in URL.findall(text))
    for outside in ("<img", "<script", "<link", "url("):
        assert outside not in mail.html


def test_an_invitation_has_a_log_in_button_and_says_until_when_in_the_practices_time() -> None:
    mail = MESSAGES.mail(Kind.INVITATION, CONTENT)
    assert f"{CLIENT}/join#token={TOKEN}" in mail.text
    assert f'href="{CLIENT}/join#token={TOKEN}"' in mail.html
    assert "Log in" in mail.html
    assert "Monday, November 30, 2026, 00:09 (CST)" in mail.text
    assert mail.subject == "Elm Street Practice invites you to Practice Access"


@pytest.mark.parametrize("kind", [Kind.INVITATION, Kind.INVITATION_REMINDER])
def test_an_invitation_offers_to_decline_it_on_the_page_that_takes_it_up(kind: Kind) -> None:
    mail = MESSAGES.mail(kind, CONTENT)
    assert f"{CLIENT}/join#token={TOKEN}&decline=1" in mail.text
    assert f'href="{CLIENT}/join#token={TOKEN}&amp;decline=1"' in mail.html
    assert mail.text.index(f"{TOKEN}\n") < mail.text.index("decline=1"), "the way in comes first"


@pytest.mark.parametrize("notice", Notice)
def test_every_notice_says_what_happened_and_when(notice: Notice) -> None:
    mail = MESSAGES.mail(Kind.NOTICE, replace(CONTENT, notice=notice.value))
    for text in (mail.text, mail.html):
        assert "Monday, November 23, 2026, 00:09 (CST)" in text
        assert "If you do not" in text
    assert mail.subject.endswith("your Practice Access account")


@pytest.mark.parametrize(
    ("notice", "subject", "words"),
    [
        ("TRIAL_ENDS_IN_7_DAYS", "Your trial ends soon", "the trial of Elm Street Practice ends on"),
        ("TRIAL_ENDS_IN_3_DAYS", "Your trial ends soon", "the trial of Elm Street Practice ends on"),
        ("TRIAL_ENDS_IN_1_DAY", "Your trial is about to end", "the trial of Elm Street Practice ends on"),
        ("PAST_DUE", "A payment is late", "Everybody can go on working until"),
        ("LAPSED", "Your staff can no longer sign in", "the trial or subscription of Elm Street Practice ended on"),
    ],
)
def test_what_is_told_about_the_subscription_says_what_when_and_what_comes_of_it(
    notice: str, subject: str, words: str
) -> None:
    assert notice in set(PracticeNoticeKind)
    mail = MESSAGES.mail(Kind.SUBSCRIPTION, replace(CONTENT, notice=notice))
    assert mail.subject == f"{subject}: Elm Street Practice"
    for text in (mail.text, mail.html):
        assert f"{words} Monday, November 30, 2026, 00:09 (CST)." in text
        assert "nothing is lost" in text
        assert CLIENT in text


def test_emergency_access_is_told_to_whoever_has_it_and_to_everybody_who_could_end_it() -> None:
    others = MESSAGES.mail(Kind.EMERGENCY_ACCESS, CONTENT)
    own = MESSAGES.mail(Kind.EMERGENCY_ACCESS, replace(CONTENT, is_about_reader=True))
    for told, whom in ((others, "Mary Jackson"), (own, "you")):
        assert f"made {whom} an administrator of Elm Street Practice" in told.text
        assert "Monday, November 23, 2026, 00:09 (CST)" in told.html
    assert ("block the account" in others.text, "block the account" in own.text) == (True, False)
    hostile = MESSAGES.mail(Kind.EMERGENCY_ACCESS, replace(CONTENT, person_name="prize.evil.example <b>"))
    assert "evil.example" not in hostile.text + hostile.html
    assert "<b>" not in hostile.html


def test_a_reminder_says_that_it_is_one_and_when_the_link_ends() -> None:
    mail = MESSAGES.mail(Kind.INVITATION_REMINDER, CONTENT)
    assert mail.subject == "Reminder: Elm Street Practice invited you to Practice Access"
    for text in (mail.text, mail.html):
        assert "this is a reminder" in text
        assert "Monday, November 30, 2026, 00:09 (CST)" in text
        assert "same link" in text
        assert f"{CLIENT}/join#token={TOKEN}" in text


def test_a_summary_names_people_calmly_and_says_how_many_more_there_are() -> None:
    people = ("Grace Hopper", "prize.evil.example <b>")
    mail = MESSAGES.mail(Kind.INVITATIONS_ENDING, replace(CONTENT, people=people, further_people=3))
    for text in (mail.text, mail.html):
        assert "Grace Hopper" in text
        assert "and 3 more" in text
        assert "evil.example" not in text
        assert TOKEN not in text
    assert "<b>" not in mail.html
    assert " more" not in MESSAGES.mail(Kind.INVITATIONS_ENDING, replace(CONTENT, people=people)).text


@pytest.mark.parametrize(
    ("notice", "subject", "words"),
    [
        ("email_corrected", "Another address", "Mary Jackson entered another e-mail address for your account"),
        ("phone_reset", "Phone taken away", "Mary Jackson took the phone off your account"),
        ("phone_reset_planned", "Your phone will be taken away", "This will happen on Monday, November 23, 2026"),
    ],
)
def test_what_others_changed_is_told_with_who_when_and_a_link_that_stops_it(
    notice: str, subject: str, words: str
) -> None:
    content = replace(CONTENT, notice=notice)
    mail = MESSAGES.mail(Kind.ACCOUNT_CHANGE, content)
    assert mail.subject == f"{subject}: your Practice Access account"
    for text in (mail.text, mail.html):
        assert words in re.sub("<[^>]+>", "", text)
        assert f"{CLIENT}/stop-change#token={TOKEN}" in text
        assert "The link works until Monday, November 30, 2026, 00:09 (CST)" in text
    text = MESSAGES.text(replace(content, code="", link_token=TOKEN if notice == "email_corrected" else ""))
    assert (f"{CLIENT}/stop-change#token={TOKEN}" in text) == (notice == "email_corrected")
    assert len(text) <= 160
    assert text.isascii()
    assert ("Mary Jackson" in text) == (notice != "phone_reset_planned")  # that one is the operator's
    named = notice != "phone_reset_planned"
    for name, is_shown in (("Mary Jackson-" * 10, False), ("Zoë Müller", False), ("evil.example", True)):
        text = MESSAGES.text(replace(content, code="", link_token=TOKEN, person_name=name))
        assert ("somebody else" in text) == (named and not is_shown)
        assert ("evil. example" in text) == (named and is_shown)
        assert (len(text) <= 160, text.isascii(), "evil.example" in text) == (True, True, False)
    stopped = MESSAGES.mail(Kind.ACCOUNT_CHANGE_STOPPED, content)
    assert "Mary Jackson stopped a change to their account that Ada Lovelace had made" in stopped.text


def test_whoever_signs_up_puts_no_words_of_theirs_into_a_strangers_mail() -> None:
    for kind in (Kind.VERIFY_EMAIL, Kind.SIGN_UP_KNOWN):
        mail = MESSAGES.mail(
            kind, replace(CONTENT, first_name="Buy gold", practice_name="Call 555 now", inviter_name="Eve")
        )
        for words in ("Buy gold", "Call 555 now", "Eve"):
            assert words not in mail.subject + mail.text + mail.html


def test_link_and_access_code_never_stand_in_one_message() -> None:
    code = re.compile(r"3RK5V.?9Y92D")
    for kind in MAIL_KINDS:
        mail = MESSAGES.mail(kind, CONTENT)
        whole = mail.subject + mail.text + mail.html
        assert not (TOKEN in whole and code.search(whole)), kind
        assert bool(code.search(whole)) == (kind is Kind.PRACTICE_ACCESS_CODE)
        assert (TOKEN in whole) == (
            kind
            in (
                Kind.INVITATION,
                Kind.INVITATION_REMINDER,
                Kind.INVITATION_PENDING,
                Kind.VERIFY_EMAIL,
                Kind.PASSWORD_RESET,
                Kind.EMAIL_CHANGE,
                Kind.ACCOUNT_CHANGE,
            )
        )
    for text in (
        MESSAGES.text(replace(CONTENT, code="012345")),
        " ".join(MESSAGES.call(replace(CONTENT, code="012345"))),
    ):
        assert TOKEN not in text


def host(length: int) -> str:
    """A host of so many characters, in labels as DNS has them."""
    labels = (("a" * 9 + ".") * 30)[: length - 8]
    return labels.removesuffix(".").ljust(length - 8, "b") + ".example"


def code_text(length: int, purpose: ChallengePurpose | None) -> str:
    """A text with a code, of a client whose host has so many characters."""
    found = host(length)
    assert len(found) == length
    return Messages(f"https://{found}:8443/staff").text(replace(CONTENT, code="012345", purpose=purpose))


def test_every_purpose_has_words_of_its_own() -> None:
    assert set(USES) == {None, *ChallengePurpose}
    assert len(set(USES.values())) == len(USES)


@pytest.mark.parametrize("purpose", USES)
@pytest.mark.parametrize("length", [11, 27, 28, 42, 48, 49, 66, 75, MAX_CLIENT_HOST_LENGTH])
def test_a_text_with_a_code_fits_and_ends_in_the_line_that_binds_it_to_our_page(
    length: int, purpose: ChallengePurpose | None
) -> None:
    text = code_text(length, purpose)
    assert len(text) <= MAX_CODE_TEXT_LENGTH
    assert set(text) <= set(GSM)
    *words, last = text.split("\n")
    assert last == f"@{host(length)} #012345"
    assert len(words) == 1
    assert words[0].startswith("012345 is your Practice Access code")
    # What is left out goes in this order, and nothing that would still fit.
    said = [f" to {USES[purpose]}." in text, "We never ask for it." in text, "Good for 10 minutes." in text]
    assert said == sorted(said, reverse=True)
    missing = [f" to {USES[purpose]}", " We never ask for it.", " Good for 10 minutes."][sum(said) :]
    assert not missing or len(text) + len(missing[0]) > MAX_CODE_TEXT_LENGTH
    assert all(said[:2]) or length > 48


def test_a_host_that_costs_a_sentence_that_protects_is_told_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    Messages(f"https://{host(48)}")
    assert caplog.messages == []
    Messages(f"https://{host(49)}")
    (told,) = caplog.messages
    assert "host of 49 characters" in told
    assert "that nobody asks for it" in told


def test_a_host_that_leaves_no_room_for_a_code_is_refused() -> None:
    bare = f"012345 is your Practice Access code.\n@{host(MAX_CLIENT_HOST_LENGTH)} #012345"
    assert len(bare) == MAX_CODE_TEXT_LENGTH
    values = {"DATA_DIR": "/nonexistent", "SECRET_KEYS": "0123456789abcdefghijklmnopqrstuvwxyz"}
    longest = f"https://{host(MAX_CLIENT_HOST_LENGTH)}:8443/staff"
    assert settings.load({**values, "CLIENT_URL": longest}).client_url == longest
    with pytest.raises(settings.SettingInvalid, match="CLIENT_URL has too long a host: put one of at most 94"):
        settings.load({**values, "CLIENT_URL": f"https://{host(MAX_CLIENT_HOST_LENGTH + 1)}"})


def test_word_of_another_phone_fits_into_one_text() -> None:
    text = MESSAGES.text(replace(CONTENT, code="", notice="phone_changed"))
    assert len(text) <= 160
    assert set(text) <= set(GSM)


def test_a_call_reads_the_digits_slowly_and_twice() -> None:
    sentences = MESSAGES.call(replace(CONTENT, code="012345"))
    assert [sentence for sentence in sentences if "0, 1, 2, 3, 4, 5" in sentence] == [
        "Your code is: 0, 1, 2, 3, 4, 5.",
        "Once more: 0, 1, 2, 3, 4, 5.",
    ]
    assert sentences.index("Hello. This is Practice Access with a security code to verify your phone.") == 0
    for purpose, use in USES.items():
        first = MESSAGES.call(replace(CONTENT, code="012345", purpose=purpose))[0]
        assert use in first
        assert not re.search(r"\d", first)
    spoken = ET.fromstring(twiml(["a < b & c", *sentences]))  # noqa: S314 -- of our own making
    assert [say.text for say in spoken.iter("Say")] == ["a < b & c", *sentences]
    assert len(list(spoken.iter("Pause"))) == len(sentences) + 1


HOSTILE = [
    "<a href='x'>",
    "prize.evil.example",
    "{{ link }}",
    '"><script>',
    "Grace &amp; Co",
    "\u202egnitset",
    "=?utf-8?q?x?=",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_and_never_a_link(name: str) -> None:
    mail = MESSAGES.mail(Kind.INVITATION, replace(CONTENT, first_name=name, practice_name=name, inviter_name=name))
    calm = MESSAGES.mail(Kind.INVITATION, CONTENT)
    assert len(re.findall(r"<\w", mail.html)) == len(re.findall(r"<\w", calm.html))
    assert URL.findall(mail.text) == URL.findall(calm.text)
    assert "evil.example" not in mail.text + mail.html + mail.subject


def test_a_subject_is_one_line_that_prints_whatever_a_name_once_was() -> None:
    odd = "Ada\r\nBcc: eve\u2028x\u202ey\u00a0z"
    mail = MESSAGES.mail(Kind.INVITATION, replace(CONTENT, practice_name=odd))
    assert mail.subject == "Ada Bcc: eve x y z invites you to Practice Access"
