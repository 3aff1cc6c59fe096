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
    NamesInvalid,
    device_name,
    full_name,
    neutral,
    person_name,
    person_names,
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
    [
        ("  Ada ", "Ada"),
        ("Mary   Jane", "Mary Jane"),
        ("Ada\n", "Ada"),
        ("Jose\u0301", "José"),
        ("\u212b", "Å"),
        # Spaces and ends of lines out of spreadsheets, word processors and Japanese keyboards.
        ("Mary\u00a0Ann", "Mary Ann"),
        ("Mary\u3000Ann", "Mary Ann"),
        ("\u2002Mary\u202fAnn\u2009", "Mary Ann"),
        ("Mary\tAnn", "Mary Ann"),
        ("Mary\r\nAnn", "Mary Ann"),
        ("Mary\u2028Ann", "Mary Ann"),
        # What cannot be seen, and what address books put around a name.
        ("Ada\u200b", "Ada"),
        ("\ufeffAda", "Ada"),
        ("Ada\u00adLovelace", "AdaLovelace"),
        ("\u2068Ada\u2069", "Ada"),
        ("\u202bشرين\u202c", "شرين"),
        ("A\u200e\u200fda\u2060", "Ada"),
        ("A\U000e0041da", "Ada"),
        # A joiner without a letter that it joins.
        ("A\u200cda", "Ada"),
        ("Ada\u200d", "Ada"),
        ("\u0645\u200d", "\u0645"),
        # Keys beside the one for an apostrophe.
        ("O`Brien", "O'Brien"),
        ("O\u00b4Brien", "O'Brien"),
    ],
)
def test_a_name_has_one_spelling(typed: str, expected: str) -> None:
    assert person_name(typed) == expected


@pytest.mark.parametrize(
    "name",
    [
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3",  # Sinhala: Shri, whose letters join
        "\u0d9a\u0dca\u200d\u0dbb\u0dd2\u0dc2\u0dcf\u0db1\u0dca",
        "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Persian: Alireza, in two words that touch
        "\u0645\u0647\u062f\u06cc\u200c\u0646\u0698\u0627\u062f",
        "\u0915\u094d\u200d\u0937",  # Devanagari
    ],
)
def test_a_name_keeps_the_joiners_that_its_script_needs(name: str) -> None:
    assert person_name(name) == name
    assert not name.isprintable()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("Ada", "Lovelace"), ("Ada", "Lovelace")),
        (("Suharto", ""), ("Suharto", "")),
        (("Suharto", " - "), ("Suharto", "")),
        (("Suharto", "."), ("Suharto", "")),
        (("Suharto", "\u2014"), ("Suharto", "")),
        (("", "Suharto"), ("Suharto", "")),
        (("-", "Suharto"), ("Suharto", "")),
    ],
)
def test_somebody_with_one_name_has_it_as_the_first(typed: tuple[str, str], expected: tuple[str, str]) -> None:
    assert person_names(*typed) == expected
    assert full_name(*expected) == " ".join(part for part in expected if part)


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        (("", ""), {"firstName"}),
        (("-", "-"), {"firstName"}),
        (("Ada", "<b>"), {"lastName"}),
        (("", "<b>"), {"lastName"}),
        (("<i>", "<b>"), {"firstName", "lastName"}),
        (("x" * 500, ""), {"firstName"}),
    ],
)
def test_what_is_wrong_with_names_is_told_field_by_field(typed: tuple[str, str], fields: set[str]) -> None:
    with pytest.raises(NamesInvalid) as refused:
        person_names(*typed)
    assert set(refused.value.reasons) == fields


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("Ada\u202ecalevol", "U+202E"),
        ("Ada\u3164", "U+3164"),
        ("Ada\x07", "U+0007"),
        ("Ada [MD]", "a ["),
        ("Smith | Jones", "a |"),
        ("ada@clinic.example", "address"),
    ],
)
def test_what_cannot_be_in_a_name_is_named(typed: str, named: str) -> None:
    with pytest.raises(NameInvalid, match=re.escape(named)):
        person_name(typed)


@pytest.mark.parametrize("name", ["Women's Health @ Main", "Care @ Home", "@Main Pediatrics", "Smith Pediatrics, P.C."])
def test_an_at_sign_beside_a_space_makes_no_address(name: str) -> None:
    assert practice_name(name) == name


REFUSED = [
    "",
    "   ",
    "\u3000",
    "...",
    "-",
    "🎉",
    # Lines of its own, in a header or in a log.
    "Ada\nBcc: eve@evil.example",
    "Ada\x00",
    "Ada\x1b[31m",
    "Ada\x7f",
    # Turns the text around it, or hides in it.
    "Ada\u202ecalevol",
    "Ada\u202d",
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
    assert re.sub("[\u200c\u200d]", "", name).isprintable()
    assert not re.search(r"[<>]|\S@\S|://", neutral(name))


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
        ("Ada’s\u00a0iPhone", "Ada’s iPhone"),
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
