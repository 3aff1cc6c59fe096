"""Names: hostile text that ends up in other people's mail, and the many ways in which people are really called."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.models.columns import MAX_DEVICE_NAME_LENGTH, MAX_NAME_LENGTH
from domain.names import (
    MAX_PRACTICE_NAME_LENGTH,
    MAX_SPECIALTY_LENGTH,
    NameInvalid,
    device_name,
    neutral,
    person_name,
    practice_name,
    specialty,
    without_links,
)

TAKEN = [
    "Ada",
    "O'Brien",
    "O’Brien",
    "Jean-Luc",
    "Mary Jane",
    "St. John",
    "J.R.R.",
    "de la Cruz, Jr.",
    "X",
    "3rd",
    "José",
    "Nguyễn",
    "Łukasz",
    "Ólafur",
    "Мария",
    "李",
    "नमस्ते",
    "نور",
    "שרה",
    "ʻOkina",
    "Smith & Sons (North)",
]


@pytest.mark.parametrize("name", TAKEN)
def test_a_persons_name_is_taken_as_it_is(name: str) -> None:
    assert person_name(name) == name


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("  Ada ", "Ada"), ("Mary   Jane", "Mary Jane"), ("Ada\n", "Ada"), ("Jose\u0301", "José"), ("\u212b", "Å")],
)
def test_a_name_has_one_spelling(typed: str, expected: str) -> None:
    assert person_name(typed) == expected


REFUSED = [
    "",
    "   ",
    "\u3000",
    "...",
    "-",
    "🎉",
    # Lines of its own, in a header or in a log.
    "Ada\nBcc: eve@evil.example",
    "Ada\r\nBcc: eve",
    "Ada\tLovelace",
    "Ada\x00",
    "Ada\x1b[31m",
    "Ada\x7f",
    "Ada\x85Lovelace",
    "Ada\u2028Lovelace",
    "Ada\u2029Lovelace",
    # Turns the text around it, or hides in it.
    "Ada\u202ecalevol",
    "Ada\u202d",
    "Ada\u2066x\u2069",
    "Ada\u200eLovelace",
    "Ada\u200bLovelace",
    "Ada\ufeff",
    "Ada\u00adLovelace",
    "\U000e0041da",
    "Ada\ud800",
    "\ue000",
    # Letters that show nothing: a user without a name on the tile.
    "\u3164",
    "\uffa0",
    "\u115f\u1160",
    "\u3164 \u3164",
    # A link, an address, or markup.
    "http://evil.example",
    "HTTPS evil.example",
    "hxxp://evil.example",
    "//evil.example://",
    "www.evil.example",
    "WWW.evil.example",
    "eve@evil.example",
    '<a href="x">Ada</a>',
    "Ada<br>",
    "Ada > Eve",
    "[Ada](evil.example)",
    "{{ practice_name }}",
    "{% if %}",
    "`Ada`",
    "Ada|Eve",
    "Ada\\nEve",
]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_name_is_refused(name: str) -> None:
    for check in (person_name, practice_name, specialty):
        with pytest.raises(NameInvalid) as refused:
            check(name)
        assert refused.value.reason


@pytest.mark.parametrize(
    ("check", "length"),
    [(person_name, MAX_NAME_LENGTH), (practice_name, MAX_PRACTICE_NAME_LENGTH), (specialty, MAX_SPECIALTY_LENGTH)],
)
def test_a_name_is_counted_as_it_will_be_kept(check: type[str], length: int) -> None:
    assert check("x" * length) == "x" * length
    assert check(f" {'x' * length} ") == "x" * length
    assert check("e\u0301" * length) == "é" * length
    for too_long in ("x" * (length + 1), "é" * (length + 1), "x" * 1_000_000, " " * 1_000_000 + "x"):
        with pytest.raises(NameInvalid, match=str(length)):
            check(too_long)


@given(st.text(max_size=80))
def test_a_taken_name_stands_on_one_line_and_is_not_changed_again(typed: str) -> None:
    try:
        name = person_name(typed)
    except NameInvalid:
        return
    assert person_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert 0 < len(name) <= MAX_NAME_LENGTH
    assert name.isprintable()
    assert not re.search(r"[<>@]|://", neutral(name))


# What programs make a link of by themselves: a dot with a letter or digit on either side.
BARE_DOMAIN = re.compile(r"[^\s.。．｡][.。．｡]\w")


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "Claim your prize evil.example",
        "evil.example.",
        "(evil.example)",
        "a.b.c.d",
        "xn--80ak6aa92e.com",
        "евил.рф",
        "1.2.3.4",
        # Browsers read these dots as plain ones.
        "evil。example",
        "evil．example",
        "evil｡example",
        # The letter before the dot has a mark of its own.
        "नमस्ते.भारत",
        "eviq\u0308.example",
    ],
)
def test_no_mail_program_makes_a_link_of_a_name(name: str) -> None:
    text = neutral(person_name(name))
    assert BARE_DOMAIN.search(name)
    assert not BARE_DOMAIN.search(text)
    assert text.replace("\u2060", "") == name


@pytest.mark.parametrize("name", ["St. John", "Ada Lovelace", "Jean-Luc", "Dr. J. Smith Jr."])
def test_a_name_without_a_link_in_it_goes_out_as_it_is(name: str) -> None:
    assert neutral(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "E.N.T. Associates",
            "Smith Pediatrics, P.C.",
            "St. Mary's Hospital",
            "J.R.R. Tolkien, M.D.",
            "No.1 Care",
            "Clinic 2.0",
        ),
        *("J.O'Brien", "A.B-C", "…", "...and Sons", "1.2.3.4", "د. نور", "李医生诊所。"),
    ],
)
def test_a_name_that_cannot_be_a_host_stands_in_a_subject_as_it_is(name: str) -> None:
    assert without_links(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("evil.example", "evil. example"),
        ("Claim your prize at evil.co.uk now", "Claim your prize at evil. co. uk now"),
        ("t.co", "t. co"),
        ("евил.рф", "евил. рф"),
        ("evil。example", "evil。 example"),
        ("नमस्ते.कॉम", "नमस्ते. कॉम"),
        ("St.Mary’s", "St. Mary’s"),
        ("xn--80ak6aa92e.xn--p1ai", "xn--80ak6aa92e. xn--p1ai"),
    ],
)
def test_a_host_in_a_name_falls_apart_in_a_subject(name: str, expected: str) -> None:
    assert without_links(name) == expected
    assert without_links(expected) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("Ada’s iPhone", "Ada’s iPhone"),
        ("  Ada’s   iPhone ", "Ada’s iPhone"),
        ("Ada\r\nBcc: eve", "AdaBcc: eve"),
        ("iPhone\u202exe", "iPhonexe"),
        ("\u200b\ufeff", "Unnamed device"),
        ("", "Unnamed device"),
        (None, "Unnamed device"),
        ("x" * 1000, "x" * MAX_DEVICE_NAME_LENGTH),
        ("x" * 99 + "  y", "x" * 99),
    ],
)
def test_a_devices_name_is_cut_and_cleaned_and_never_refused(typed: str | None, expected: str) -> None:
    assert device_name(typed) == expected
