"""What messages say: a folder of templates for each kind, filled with what the domain looked up.

Names come from people and end up in other people's mail: they are escaped in HTML, and neutralised so that no mail program makes a
link of one.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import jinja2

from domain import names
from domain.contents import Content
from domain.models.columns import ChallengePurpose
from domain.outbox import Kind

TEMPLATES = Path(__file__).parent / "templates"
PRODUCT = "Practice Access"
PATHS = {
    Kind.VERIFY_EMAIL: "verify-email",
    Kind.INVITATION: "join",
    Kind.INVITATION_REMINDER: "join",
    Kind.PASSWORD_RESET: "reset-password",
    Kind.EMAIL_CHANGE: "confirm-email",
    Kind.ACCOUNT_CHANGE: "stop-change",
}
# What a notice about a change by somebody else calls it; `domain.contents` fills it in.
ACCOUNT_CHANGES = ("email_corrected", "phone_reset", "phone_reset_planned")
CODE_GROUP = 5
# What a code's text says that it is for: whoever is asked for one by somebody else notices.
USES = {
    None: "prove your phone",
    ChallengePurpose.SIGN_IN: "sign in on a new device",
    ChallengePurpose.PASSWORD_RESET: "set a new password",
    ChallengePurpose.RENEWAL: "confirm that it is you",
    ChallengePurpose.EMAIL_CHANGE: "change your e-mail address",
    ChallengePurpose.PHONE_CHANGE: "prove your new phone",
}
TEXT_KINDS = (Kind.SECURITY_CODE, Kind.PHONE_NOTICE, Kind.ACCOUNT_CHANGE_TEXT)
MAIL_KINDS: tuple[Kind, ...] = tuple(kind for kind in Kind if kind not in TEXT_KINDS)


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail's words."""

    subject: str
    text: str
    html: str


class Messages:
    """Fills templates, which are compiled once. client_url: the only place that links lead to."""

    def __init__(self, client_url: str) -> None:
        self._client_url = client_url
        self._host = urlsplit(client_url).hostname or ""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=jinja2.select_autoescape(("html",)),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._mails = {
            kind: [
                environment.get_template(f"{kind.value}/{part}") for part in ("subject.txt", "body.txt", "body.html")
            ]
            for kind in MAIL_KINDS
        }
        self._text = environment.get_template("security_code/sms.txt")
        self._phone_notice = environment.get_template("phone_notice/sms.txt")
        self._account_change = environment.get_template("account_change_text/sms.txt")
        self._call = environment.get_template("security_code/voice.txt")

    def mail(self, kind: Kind, content: Content) -> Mail:
        """The words of an e-mail."""
        values = {
            "product": PRODUCT,
            "first_name": names.neutral(content.first_name),
            "practice_name": names.neutral(content.practice_name),
            "inviter_name": names.neutral(content.inviter_name),
            "person_name": names.neutral(content.person_name),
            "is_about_reader": content.is_about_reader,
            "people": [names.neutral(name) for name in content.people],
            "further_people": content.further_people,
            "link": f"{self._client_url}/{PATHS[kind]}#token={content.link_token}" if kind in PATHS else "",
            "client_url": self._client_url,
            "code": f"{content.code[:CODE_GROUP]}-{content.code[CODE_GROUP:]}",
            "notice": content.notice,
            "occurred": _moment(content.occurred_at, content.time_zone),
            "expires": _moment(content.expires_at, content.time_zone),
        }
        subject, text, html = (template.render(values) for template in self._mails[kind])
        return Mail(" ".join(subject.split()), text, html)

    def text(self, content: Content) -> str:
        """A text message with a code, or with word of what happened.

        A code's last line lets phones offer it on our page only (WICG sms-one-time-codes).
        """
        if content.notice in ACCOUNT_CHANGES:
            link = f"{self._client_url}/stop-change#token={content.link_token}" if content.link_token else ""
            return self._account_change.render(product=PRODUCT, notice=content.notice, link=link).strip()
        if not content.code:
            return self._phone_notice.render(product=PRODUCT).strip()
        return self._text.render(product=PRODUCT, code=content.code, use=USES[content.purpose], host=self._host).strip()

    def call(self, content: Content) -> list[str]:
        """What a call says, sentence by sentence, with a pause after each."""
        digits = ", ".join(content.code)
        return [line for line in self._call.render(product=PRODUCT, digits=digits).splitlines() if line]


def _moment(moment: datetime | None, zone: str) -> str:
    if moment is None:
        return ""
    local = moment.astimezone(ZoneInfo(zone))
    return f"{local:%A}, {local:%B} {local.day}, {local.year}, {local:%H:%M} ({local.tzname()})"
