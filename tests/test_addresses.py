"""E-mail addresses and phone numbers: one spelling of each, and what is refused rather than guessed at."""

from collections.abc import Iterator

import pytest

from domain import phone_countries
from domain.addresses import (
    EmailInvalid,
    PhoneInvalid,
    canonical_email,
    e164,
    masked_email,
    masked_phone,
    shown_email,
    use_area_codes,
)
from domain.errors import PhoneNumberUnusable
from domain.settings import DEFAULT_COUNTRIES

LONGEST = "a" * 60 + "@" + ".".join(["b" * 60, "c" * 60, "d" * 60]) + ".example.com"[:11]

SAME = [
    ("grace@clinic.example", "grace@clinic.example"),
    ("Grace.Hopper+EHR@Clinic.EXAMPLE", "grace.hopper+ehr@clinic.example"),
    (" grace@clinic.example ", "grace@clinic.example"),
    ("grace@clinic.example\n", "grace@clinic.example"),  # pasted with the end of its line
    ("o'brien@clinic.example", "o'brien@clinic.example"),
    ("grace@mail.clinic.example", "grace@mail.clinic.example"),
    # One domain however it is spelled; what a resolver would look up is what is compared.
    ("grace@bücher.example", "grace@xn--bcher-kva.example"),
    ("grace@BÜCHER.example", "grace@xn--bcher-kva.example"),
    ("grace@bu\u0308cher.example", "grace@xn--bcher-kva.example"),
    ("grace@XN--BCHER-KVA.example", "grace@xn--bcher-kva.example"),
    ("grace@clinic。example", "grace@clinic.example"),
    ("grace@\u212aing.example", "grace@king.example"),  # the Kelvin sign
    ("grace@ｃlinic.example", "grace@clinic.example"),
    # What address books, mail programs and web pages put around one.
    ("Grace <grace@clinic.example>", "grace@clinic.example"),
    ('"Hopper, Grace" <Grace@clinic.example>', "grace@clinic.example"),
    ("Grace Hopper (MD) < grace@clinic.example >;", "grace@clinic.example"),
    ("grace@clinic.example <grace@clinic.example>", "grace@clinic.example"),
    ("<grace@clinic.example>", "grace@clinic.example"),
    ("mailto:grace@clinic.example", "grace@clinic.example"),
    ("MAILTO: grace@clinic.example", "grace@clinic.example"),
    ("grace@clinic.example;", "grace@clinic.example"),
    ("grace@clinic.example,", "grace@clinic.example"),
    ("grace@clinic.example.", "grace@clinic.example"),
    # What cannot be seen.
    ("grace@clinic.example\u200b", "grace@clinic.example"),
    ("\ufeffgrace@clinic.example", "grace@clinic.example"),
    ("grace@\u200bclinic.exam\u00adple", "grace@clinic.example"),
    ("\u202agrace@clinic.example\u202c", "grace@clinic.example"),
    ("\u2068grace@clinic.example\u2069", "grace@clinic.example"),
    ("\u00a0grace@clinic.example\u00a0", "grace@clinic.example"),
]


@pytest.mark.parametrize(("typed", "expected"), SAME)
def test_an_address_has_one_spelling(typed: str, expected: str) -> None:
    assert canonical_email(typed) == expected
    assert canonical_email(expected) == expected
    assert expected.isascii()


@pytest.mark.parametrize(
    ("typed", "not_the_same_as"),
    [
        ("grace@cl\u0131nic.example", "grace@clinic.example"),  # dotless i
        ("grace@\u0441linic.example", "grace@clinic.example"),  # Cyrillic es
        ("grace@straße.example", "grace@strasse.example"),
    ],
)
def test_a_domain_that_only_looks_alike_is_another(typed: str, not_the_same_as: str) -> None:
    found = canonical_email(typed)
    assert found != canonical_email(not_the_same_as)
    assert found.partition("@")[2].startswith("xn--")


REFUSED = [
    "",
    "grace",
    "@clinic.example",
    "grace@",
    "grace@@clinic.example",
    "grace@hopper@clinic.example",
    # Letters that another system takes for an ASCII one: CVE-2019-19844.
    "gr\u0131ce@clinic.example",
    "\u212a@clinic.example",
    "ｇrace@clinic.example",
    "gráce@clinic.example",
    "gra\u0301ce@clinic.example",
    "grace＠clinic.example",
    "grace﹫clinic.example",
    "\u202egrace@clinic.example",
    "grace\u00a0@clinic.example",
    # More than one mailbox.
    "grace@clinic.example,eve@evil.example",
    "grace@clinic.example;eve@evil.example",
    "grace@clinic.example eve@evil.example",
    "grace@clinic.example，eve@evil.example",
    "grace,eve@clinic.example",
    "grace@clinic.example\neve@evil.example",
    '["grace@clinic.example"]',
    # What a header or a command may carry beside the address.
    "eve@evil.example <grace@clinic.example>",
    "Grace <grace@clinic.example>, Eve <eve@evil.example>",
    "Grace <grace@clinic.example> <eve@evil.example>",
    "Grace <grace hopper@clinic.example>",
    "Grace <>",
    "mailto:grace@clinic.example?cc=eve@evil.example",
    "mailto:",
    "x@clinic.example" + " " * 2000 + ",eve@evil.example",
    "grace@clinic.example> AUTH=<",
    "grace@clinic.example\r\nBcc: eve@evil.example",
    "grace\r\n@clinic.example",
    "gr\x00ace@clinic.example",
    "grace@clinic\x00.example",
    "gr\tace@clinic.example",
    "grace@clinic\u2028.example",
    "grace@clinic.example?cc=eve@evil.example",
    "(comment)grace@clinic.example",
    "grace@clinic.example(comment)",
    '"grace"@clinic.example',
    '"grace hopper"@clinic.example',
    '"grace@evil.example"@clinic.example',
    # Not a mailbox on the internet.
    "grace@clinic..example",
    "grace@.clinic.example",
    "grace@-clinic.example",
    "grace@clinic-.example",
    "grace@clinic_.example",
    "grace@xn--a.example",
    ".grace@clinic.example",
    "grace.@clinic.example",
    "grace..hopper@clinic.example",
    "grace@[127.0.0.1]",
    "grace@[IPv6:::1]",
    "grace@localhost",
    "grace@clinic.local",
    "grace@clinic.invalid",
    # A relay in the same network would take these for its neighbours.
    "grace@postgres",
    "grace@127.0.0.1",
    "grace@10.1",
    "a" + LONGEST,
    "a" * 100_000 + "@clinic.example",
]


@pytest.mark.parametrize("typed", REFUSED)
def test_what_is_no_plain_address_is_refused(typed: str) -> None:
    with pytest.raises(EmailInvalid) as refused:
        canonical_email(typed)
    assert refused.value.reason


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "is empty"),
        ("grace", "has no @, so it is not an e-mail address"),
        ("@clinic.example", "has nothing before the @"),
        ("grace@", "has nothing after the @"),
        ("grace hopper@clinic.example", "has a space in it"),
        ("grace@clinic.example, eve@evil.example", "has more than one address; put one"),
        ("Grace <grace@clinic.example>; Eve <eve@evil.example>", "has more than one address; put one"),
        ("eve@evil.example <grace@clinic.example>", "has more than one address; put one"),
        ("grace@@clinic.example", "has more than one @"),
        ("a" * 65 + "@clinic.example", "has more than 64 characters before the @"),
        ("a" * 300 + "@clinic.example", "is longer than 254 characters"),
        ("gráce@clinic.example", "has a character that e-mail addresses cannot have here"),
        ("\u202egrace@clinic.example", "has a character that e-mail addresses cannot have here"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(typed: str, reason: str) -> None:
    with pytest.raises(EmailInvalid) as refused:
        canonical_email(typed)
    assert refused.value.reason == reason


def test_the_part_before_the_at_sign_may_have_64_characters() -> None:
    longest = "a" * 64 + "@clinic.example"
    assert canonical_email(longest) == longest


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("Ben <Ben.Ward@Clinic.example>", "Ben.Ward@Clinic.example"),
        (" mailto:Ben.Ward@clinic.example; ", "Ben.Ward@clinic.example"),
        ("Ben.Ward@bücher.example\u200b", "Ben.Ward@bücher.example"),
    ],
)
def test_an_address_is_shown_as_its_owner_writes_it(typed: str, shown: str) -> None:
    assert shown_email(typed) == shown


def test_an_address_may_have_254_characters() -> None:
    assert len(LONGEST) == 254
    assert canonical_email(LONGEST) == LONGEST


def test_a_domain_that_grows_past_254_characters_in_ascii_is_refused() -> None:
    grows = "a" * 60 + "@" + ".".join(["ü" * 45] * 4) + ".example"
    assert len(grows) <= 254
    with pytest.raises(EmailInvalid):
        canonical_email(grows)


SPELLINGS = [
    "+14155550123",
    "4155550123",
    "14155550123",
    "1 415 555 0123",
    "(415) 555-0123",
    "(415)5550123",
    "415-555-0123",
    "415.555.0123",
    "415/555/0123",
    "  +1 (415) 555-0123  ",
    "+1 (415) 555‑0123",  # a hyphen that does not break
    "+1\u00a0(415)\u00a0555-0123",  # as address books put it into the clipboard
    "\u202a+1 (415) 555-0123\u202c",
    "011 1 415 555 0123",
    "tel:+14155550123",
    "+１４１５５５５０１２３",
    "٤١٥٥٥٥٠١٢٣",
]


@pytest.mark.parametrize("typed", SPELLINGS)
def test_a_number_has_one_spelling(typed: str) -> None:
    assert e164(typed) == "+14155550123"


@pytest.mark.parametrize(
    ("typed", "region", "expected"),
    [
        ("+44 (0)7911 123456", "US", "+447911123456"),
        ("07911 123456", "GB", "+447911123456"),
        ("+49 1511 2345678", "US", "+4915112345678"),
        ("+33 6 12 34 56 78", "US", "+33612345678"),
        ("+39 02 3661 8300", "US", "+390236618300"),  # Italy keeps its zero
        ("+1 684 733 1234", "US", "+16847331234"),
        ("+91 98765 43210", "US", "+919876543210"),
        ("+61 4 1234 5678", "US", "+61412345678"),
    ],
)
def test_a_number_is_read_with_its_own_country_or_the_region(typed: str, region: str, expected: str) -> None:
    assert e164(typed, region) == expected
    assert e164(expected) == expected


UNUSABLE = [
    ("+1 900 234 5678", "premium"),
    ("900-234-5678", "premium"),
    ("+44 909 879 0879", "premium"),
    ("+61 1900 123 456", "premium"),
    ("+33 810 123 456", "shared-cost"),
    ("+34 902 123 456", "shared-cost"),
    ("1-800-234-5678", "toll-free"),
    ("+18005550123", "toll-free"),
    ("+44 800 111 1111", "toll-free"),
    ("+800 1234 5678", "toll-free"),
    ("+44 7640 123456", "pager"),
    # Forwards to a phone elsewhere, at the sender's expense: what toll fraud is made of.
    ("+44 70 1234 5678", "personal"),
    ("+1 500 555 1234", "personal"),
    # Satellites and numbers of no country, at several dollars a minute.
    ("+881 6 1234 5678", "no country"),
    ("+882 16 1234567", "no country"),
    ("+870 773 111 632", "no country"),
    ("415-555-0123 ext. 5", "extension"),
    ("415-555-0123x7", "extension"),
    ("415-555-0123 #7", "extension"),
    ("+14155550123;ext=5", "extension"),
    ("+14155550123,,5", "extension"),
]


@pytest.mark.parametrize(("typed", "why"), UNUSABLE)
def test_a_number_that_costs_extra_or_reaches_nobody_is_refused(typed: str, why: str) -> None:
    with pytest.raises(PhoneInvalid) as refused:
        e164(typed)
    assert why in refused.value.reason


NO_NUMBER = [
    "",
    "   ",
    "+",
    "911",
    "12345",
    "+1976",
    "+1415555012",
    "+49 30 11111111111111",  # Germany has such numbers, E.164 has not
    "+141555501234",
    "+1 555 555 0123",
    "07911 123456",  # no such number in the United States
    "+999123456789",
    "4155550123 or 4155550124",
    "+14155550123/4155550124",
    # Letters would be dropped or turned into digits, and the code would go to a number that nobody typed.
    "415-555-HELP",
    "415-KL5-0123",
    "415555O1234",
    "call 4155550123",
    "<b>4155550123</b>",
    "4155550123;phone-context=evil.example",
    "nothing",
    "+14155550123\n",
    "+1415\r\n5550123",
    "+14155550123\x00",
    "4" * 41,
    "+" * 100_000,
]


@pytest.mark.parametrize("typed", NO_NUMBER)
def test_what_is_no_number_is_refused(typed: str) -> None:
    with pytest.raises(PhoneInvalid) as refused:
        e164(typed)
    assert refused.value.reason


def test_what_is_shown_of_an_address_or_a_number_does_not_give_it_away() -> None:
    assert masked_phone("+14155550143") == "••••••43"
    assert masked_email("grace@clinic.example") == "g•••@clinic.example"
    assert masked_email("g@clinic.example") == "g•••@clinic.example"


@pytest.fixture
def _default_area_codes() -> Iterator[None]:
    yield
    use_area_codes(())
    phone_countries.use_countries(DEFAULT_COUNTRIES)


@pytest.mark.parametrize("typed", ["(436) 555-0143", "+1 621 555 0143", "1-679-234-5678"])
def test_a_new_area_code_is_taken_as_home(typed: str) -> None:
    phone = e164(typed)
    assert phone.startswith("+1")
    assert phone_countries.country_of(phone) == "US"
    assert phone_countries.number_for_codes(typed) == phone


@pytest.mark.parametrize(
    "typed",
    [
        "+1 436 155 0143",
        "+1 436 911 0143",
        "+1 436 055 0143",
        "+1 436 555 014",
        "+1 387 555 0143",
        "+1 411 555 0143",
        "+44 436 555 0143",
    ],
)
def test_a_number_that_cannot_be_is_refused_in_a_new_area_too(typed: str) -> None:
    with pytest.raises(PhoneInvalid):
        e164(typed)


@pytest.mark.usefixtures("_default_area_codes")
def test_the_operator_can_add_an_area_code() -> None:
    with pytest.raises(PhoneInvalid):
        e164("+1 387 555 0143")
    use_area_codes(("387",))
    assert e164("+1 387 555 0143") == "+13875550143"
    assert e164("+1 436 555 0143") == "+14365550143"
    phone_countries.use_countries(("GB", "CA"))
    assert phone_countries.country_of("+13875550143") == "CA"


@pytest.mark.usefixtures("_default_area_codes")
def test_a_new_area_code_opens_no_country_that_is_not_served() -> None:
    for served in (("GB",), ("CA",)):
        phone_countries.use_countries(served)
        with pytest.raises(PhoneNumberUnusable):
            phone_countries.number_for_codes("+1 436 555 0143")
