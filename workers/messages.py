"""What messages say: a folder of templates for each kind, filled with what the domain looked up.

Names come from people and end up in other people's mail: they are escaped in HTML, and neutralised so that no mail program makes a
link of one. A subject holds them as they were typed but for a space: mail programs make no links in it, and an invisible character there
would be one in a header.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import jinja2

from domain import link_codes, names
from domain.contents import Content
from domain.models.columns import ChallengePurpose
from domain.outbox import Kind
from domain.secrets import CODE_DIGITS

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"
PRODUCT = "Practice Access"
PATHS = {
    Kind.VERIFY_EMAIL: "verify-email",
    Kind.INVITATION: "join",
    Kind.INVITATION_REMINDER: "join",
    Kind.INVITATION_PENDING: "join",
    Kind.PASSWORD_RESET: "reset-password",
    Kind.EMAIL_CHANGE: "confirm-email",
    Kind.ACCOUNT_CHANGE: "stop-change",
}
# What a notice about a change by somebody else calls it; `domain.contents` fills it in.
ACCOUNT_CHANGES = ("email_corrected", "phone_reset", "phone_reset_planned")
ONE_TEXT = (
    160  # characters of a text that is sent, and paid for, as one; only where all of them are of the GSM alphabet
)
CODE_GROUP = 5
# The page where an invitation is taken up also takes a no: the same link with one more word in the part that browsers do not send.
DECLINE = "&decline=1"
# What a code's text and call say that it is for: whoever is asked for one by somebody else notices.
USES = {
    None: "verify your phone",
    ChallengePurpose.SIGN_IN: "sign in",
    ChallengePurpose.PASSWORD_RESET: "set a new password",
    ChallengePurpose.RENEWAL: "confirm it's you",
    ChallengePurpose.EMAIL_CHANGE: "change your e-mail",
    ChallengePurpose.PHONE_CHANGE: "verify your new phone",
}
# Android reads codes out of texts up to this length only (SMS User Consent API). It is less than a segment of the GSM alphabet (160).
MAX_CODE_TEXT_LENGTH = 140
# What a code's text says beside the code, the product and the last line. What comes last here is left out first where CLIENT_URL's
# host is long: the page tells how long a code is good, and what a code is for is worth most to somebody who is being tricked.
CODE_SENTENCES = ("what the code is for", "that nobody asks for it", "how long it is good")
TEXT_KINDS = (Kind.SECURITY_CODE, Kind.PHONE_NOTICE, Kind.ACCOUNT_CHANGE_TEXT)
MAIL_KINDS: tuple[Kind, ...] = tuple(kind for kind in Kind if kind not in TEXT_KINDS)


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail's words. sender_name: whom it comes from, beside the address."""

    subject: str
    text: str
    html: str
    sender_name: str = PRODUCT


class Messages:
    """Fills templates, which are compiled once. client_url: the only place that links lead to. product: what the product is called."""

    def __init__(self, client_url: str, product: str = PRODUCT) -> None:
        self._client_url = client_url
        self._product = product
        self._host = urlsplit(client_url).hostname or ""
        environment = _environment()
        self._mails = {
            kind: [
                environment.get_template(f"{kind.value}/{part}") for part in ("subject.txt", "body.txt", "body.html")
            ]
            for kind in MAIL_KINDS
        }
        self._text = environment.get_template("security_code/sms.txt")
        self._warn_of_long_host()
        self._phone_notice = environment.get_template("phone_notice/sms.txt")
        self._account_change = environment.get_template("account_change_text/sms.txt")
        self._call = environment.get_template("security_code/voice.txt")

    def mail(self, kind: Kind, content: Content) -> Mail:
        """The words of an e-mail."""
        page = f"{self._client_url}/{PATHS[kind]}" if kind in PATHS else ""
        values = {
            "product": names.neutral(self._product),
            **_names(content, names.neutral),
            "is_about_reader": content.is_about_reader,
            "further_people": content.further_people,
            "link": f"{page}#token={content.link_token}" if page else "",
            "page": page,
            "link_code": link_codes.grouped(content.link_code),
            "decline_link": f"{self._client_url}/{PATHS[Kind.INVITATION]}#token={content.link_token}{DECLINE}",
            "client_url": self._client_url,
            "end_reasons": [reason.value for reason in content.end_reasons],
            "code": f"{content.code[:CODE_GROUP]}-{content.code[CODE_GROUP:]}",
            "notice": content.notice,
            "occurred": _moment(content.occurred_at, content.time_zone),
            "expires": _moment(content.expires_at, content.time_zone),
        }
        subject, text, html = self._mails[kind]
        plain = {**values, "product": self._product, **_names(content, names.without_links)}
        return Mail(_one_line(subject.render(plain)), text.render(values), html.render(values), self._product)

    def _warn_of_long_host(self) -> None:
        longest = max(USES.values(), key=len)
        fits = self._sentences(code="0" * CODE_DIGITS, use=longest)
        if fits < len(CODE_SENTENCES) - 1:
            logger.warning(
                "CLIENT_URL has a host of %d characters: texts with a code do not say %s, since phones offer codes from texts of up to %d"
                " characters only.",
                len(self._host),
                " and ".join(CODE_SENTENCES[fits:]),
                MAX_CODE_TEXT_LENGTH,
            )

    def text(self, content: Content) -> str:
        """A text message with a code, or with word of what happened.

        A code's last line lets phones offer it on our page only (https://wicg.github.io/sms-one-time-codes).
        """
        if content.notice in ACCOUNT_CHANGES:
            link = f"{self._client_url}/stop-change#token={content.link_token}" if content.link_token else ""
            return self._change_text(content.notice, link, names.without_links(content.person_name))
        if not content.code:
            return self._phone_notice.render(product=self._product).strip()
        use = USES[content.purpose]
        return self._code_text(content.code, use, self._sentences(content.code, use))

    def _change_text(self, notice: str, link: str, who: str) -> str:
        """Who made the change is named where that fits into one text."""
        values = {"product": self._product, "notice": notice, "link": link}
        text = self._account_change.render(values, person_name=who).strip()
        if len(text) <= ONE_TEXT and text.isascii():
            return text
        return self._account_change.render(values, person_name="somebody else").strip()

    def _sentences(self, code: str, use: str) -> int:
        """How many of `CODE_SENTENCES` fit into a text."""
        numbers = range(len(CODE_SENTENCES), 0, -1)
        fit = (number for number in numbers if len(self._code_text(code, use, number)) <= MAX_CODE_TEXT_LENGTH)
        return next(fit, 0)

    def _code_text(self, code: str, use: str, sentences: int) -> str:
        values = {"product": self._product, "code": code, "use": use, "host": self._host, "sentences": sentences}
        return self._text.render(values).strip()

    def call(self, content: Content) -> list[str]:
        """What a call says, sentence by sentence, with a pause after each: what the code is for comes before the digits."""
        values = {"product": self._product, "digits": ", ".join(content.code), "use": USES[content.purpose]}
        return [line for line in self._call.render(values).splitlines() if line]


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(("html",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _names(content: Content, shown: Callable[[str], str]) -> dict[str, object]:
    """What people typed, as it is shown in one place."""
    return {
        "first_name": shown(content.first_name),
        "practice_name": shown(content.practice_name),
        "inviter_name": shown(content.inviter_name),
        "person_name": shown(content.person_name),
        "people": [shown(name) for name in content.people],
    }


def _one_line(text: str) -> str:
    """A text for a header: words with one space between them. A character that does not print is as good as a space."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _moment(moment: datetime | None, zone: str) -> str:
    if moment is None:
        return ""
    local = moment.astimezone(ZoneInfo(zone))
    return f"{local:%A}, {local:%B} {local.day}, {local.year}, {local:%H:%M} ({local.tzname()})"
