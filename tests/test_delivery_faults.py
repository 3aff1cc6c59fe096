"""Whose fault a refusal is: by codes and by words, on every road. Run with -s to read the table."""

from collections.abc import Iterator

import aiosmtplib
import httpx
import pytest

from domain import delivery_faults, mail_reports
from domain.delivery_faults import Cause, Fault, PhoneCause, Stage, carriers
from domain.models.columns import uuid7
from domain.settings import Twilio
from workers import smtp
from workers.carrier import Carrier
from workers.deliveries import (
    Bounced,
    ChannelDown,
    DeliveryError,
    Faulty,
    Permanent,
    Refused,
    Temporary,
    Unroutable,
)

HAPPENS = {
    Bounced: "BOUNCED, the address or number is held",
    Permanent: "FAILED at once",
    Refused: "tried again; counts towards a pause",
    Temporary: "tried again",
    Faulty: "tried again; counts in the breaker",
    ChannelDown: "channel left alone; costs no attempt",
    Unroutable: "another carrier at once, else FAILED",
}


def refusal(reply: int, text: str, stage: Stage = Stage.RCPT) -> DeliveryError:
    """What a reply becomes."""
    return smtp._refusal(aiosmtplib.SMTPResponseException(reply, text), stage)


MAILBOX, DOMAIN = Cause.NO_MAILBOX, Cause.NO_DOMAIN
SMTP: list[tuple[int, str, Cause, type[DeliveryError]]] = [
    # The address is at fault, by its code or in plain words.
    (550, "5.1.1 <ann@x.example>... User unknown", MAILBOX, Bounced),
    (550, "5.1.1 The email account that you tried to reach does not exist.", MAILBOX, Bounced),
    (550, "5.1.2 bad destination", DOMAIN, Bounced),
    (501, "5.1.3 bad syntax", MAILBOX, Bounced),
    (550, "5.1.6 moved", Cause.MOVED, Bounced),
    (556, "5.1.10 null MX", Cause.NO_MAIL, Bounced),
    (556, "nullMX", Cause.NO_MAIL, Bounced),
    (550, "5.2.1 disabled", Cause.DISABLED, Bounced),
    (550, "5.4.4 cannot route", DOMAIN, Bounced),
    (550, "5.7.1 <ann@x.example>: Recipient address rejected: User unknown in virtual mailbox table", MAILBOX, Bounced),
    (550, "5.5.0 Requested action not taken: mailbox unavailable", MAILBOX, Bounced),
    (550, "5.4.1 Recipient address rejected: Access denied", MAILBOX, Bounced),
    (554, "delivery error: dd This user doesn't have a yahoo.example account (ann@x.example) [0]", MAILBOX, Bounced),
    (554, "30 Sorry, your message cannot be delivered. This mailbox is disabled (554.30).", Cause.DISABLED, Bounced),
    (550, "no such user here", MAILBOX, Bounced),
    (550, "unknown local part in <ann@x.example>", MAILBOX, Bounced),
    (550, "Unrouteable address", MAILBOX, Bounced),
    (550, "ann... User not listed in Domino Directory", MAILBOX, Bounced),
    (511, "sorry, no mailbox here by that name (#5.1.1 - chkuser)", MAILBOX, Bounced),
    (550, "5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient.", MAILBOX, Bounced),
    # The mailbox is right, and full.
    (552, "5.2.2 over quota", Cause.MAILBOX_FULL, Temporary),
    (550, "Mailbox is full / quota exceeded", Cause.MAILBOX_FULL, Temporary),
    (452, "4.2.2 mailbox full", Cause.MAILBOX_FULL, Temporary),
    # Ours.
    (550, "5.1.7 bad sender syntax", Cause.SENDER_ADDRESS, Refused),
    (553, "5.1.8 Domain of sender address does not exist", Cause.SENDER_ADDRESS, Refused),
    (550, "5.7.60 SMTP; Client does not have permissions to send as this sender", Cause.POLICY, Refused),
    (554, "Message rejected: Email address is not verified.", Cause.SENDER_ADDRESS, Refused),
    (550, "5.7.26 This mail is unauthenticated", Cause.NOT_AUTHENTICATED, Refused),
    (550, "5.7.1 SPF check failed: sender not permitted", Cause.NOT_AUTHENTICATED, Refused),
    (550, "5.7.509 Access denied, sending domain does not pass DMARC verification", Cause.NOT_AUTHENTICATED, Refused),
    (550, "5.7.25 The IP address does not have a PTR record", Cause.NOT_AUTHENTICATED, Refused),
    (554, "5.7.1 Client host [192.0.2.1] blocked using zen.spamhaus.org", Cause.BLOCKLISTED, Refused),
    (550, "5.7.606 Access denied, banned sending IP [192.0.2.1]", Cause.BLOCKLISTED, Refused),
    (550, "5.2.1 Mailbox unavailable. Your IP address 192.0.2.1 is blacklisted", Cause.BLOCKLISTED, Refused),
    (550, "5.4.5 Daily user sending quota exceeded", Cause.SENDING_LIMIT, Refused),
    (550, "5.7.1 Message rejected by our policy", Cause.POLICY, Refused),
    (535, "5.7.8 sign in first", Cause.SIGN_IN, Refused),
    (530, "5.7.0 Must issue a STARTTLS command first", Cause.POLICY, Refused),
    (552, "5.3.4 Message size exceeds fixed limit", Cause.TOO_LARGE, Permanent),
    (554, "5.6.1 media not supported", Cause.FORMAT, Permanent),
    (554, "5.7.1 This message looks like spam", Cause.CONTENT, Permanent),
    # The relay's.
    (554, "5.7.1 <ann@x.example>: Relay access denied", Cause.RELAYING_DENIED, Refused),
    (550, "5.7.1 Unable to relay", Cause.RELAYING_DENIED, Refused),
    (553, "sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", Cause.RELAYING_DENIED, Refused),
    (550, "relay not permitted", Cause.RELAYING_DENIED, Refused),
    (554, "5.3.5 system incorrectly configured", Cause.SYSTEM, Refused),
    (554, "5.4.6 routing loop", Cause.ROUTE, Refused),
    (554, "5.5.2 syntax", Cause.PROTOCOL, Refused),
    (451, "4.3.0 queue file write error", Cause.SYSTEM, Faulty),
    (421, "try later", Cause.SYSTEM, Faulty),
    # Nobody's yet.
    (550, "", Cause.NOT_SAID, Refused),
    (550, "no", Cause.NOT_SAID, Refused),
    (554, "5.0.0 transaction failed", Cause.NOT_SAID, Refused),
    (450, "4.2.0 Greylisted", Cause.NOT_SAID, Temporary),
    (450, "4.7.1 Client host rejected: greylisted, see https://postgrey.example", Cause.NOT_SAID, Temporary),
    (450, "4.2.1 The user you are trying to contact is receiving mail too quickly", Cause.NOT_SAID, Temporary),
    (450, "4.2.1 disabled for now", Cause.NOT_SAID, Temporary),
    (450, "4.1.1 unverified address: user unknown", MAILBOX, Temporary),
]


@pytest.mark.parametrize(("reply", "text", "cause", "becomes"), SMTP)
def test_a_reply_to_a_recipient_is_judged_by_its_words_and_codes(
    reply: int, text: str, cause: Cause, becomes: type[DeliveryError]
) -> None:
    error = refusal(reply, text)
    assert error.judgment is not None
    assert (error.judgment.cause, type(error)) == (cause, becomes)
    assert error.problem.isprintable()
    assert "@" not in error.problem


AT_FAULT = {"1.1", "1.2", "1.3", "1.6", "1.10", "2.1", "4.4"}
EVERY_CODE = [f"{subject}.{detail}" for subject in range(8) for detail in (*range(31), 57, 60, 133, 509, 606, 708, 750)]


@pytest.mark.parametrize("road", ["RCPT", "REPORT"])
def test_of_all_enhanced_codes_seven_and_no_other_blame_the_recipient(road: str) -> None:
    judged = {
        code: delivery_faults.of_status(f"5.{code}", reply=None if road == "REPORT" else 550, stage=Stage(road))
        for code in EVERY_CODE
    }
    assert {code for code, one in judged.items() if one.fault is Fault.RECIPIENT} == AT_FAULT
    unknown = {code for code, one in judged.items() if one.fault is Fault.UNKNOWN}
    assert not any(code.startswith(("3.", "5.", "6.")) for code in unknown)
    assert {code for code in unknown if code.startswith("7.")} == {"7.2"}
    assert judged["2.2"].cause is Cause.MAILBOX_FULL


@pytest.mark.parametrize("code", ["5.2.2", "4.2.2"])
def test_a_full_mailbox_is_never_a_wrong_address(code: str) -> None:
    delivery = uuid7()
    text = f"552 {code} mailbox full"
    verdicts = {
        mail_reports.failed(delivery, delivery_faults.of_status(code, text, stage=Stage.REPORT)).verdict,
        mail_reports.failed(delivery, delivery_faults.of_ses_bounce("Permanent", "General", code, text)).verdict,
        mail_reports.failed(delivery, delivery_faults.of_ses_bounce("Transient", "MailboxFull", None, "")).verdict,
    }
    for kind in ("HardBounce", "SoftBounce"):
        judgment = delivery_faults.of_postmark_bounce(kind, text)
        assert judgment is not None
        verdicts.add(mail_reports.failed(delivery, judgment).verdict)
    assert verdicts == {mail_reports.Verdict.FAILED}
    assert isinstance(refusal(552, f"{code} full"), Temporary)


@pytest.mark.parametrize("stage", [Stage.BEFORE, Stage.MAIL])
@pytest.mark.parametrize("text", ["5.1.1 user unknown", "5.2.2 mailbox full", "no such user", "", "5.7.1 no"])
def test_what_is_said_before_a_recipient_is_named_is_nothing_of_the_recipients(stage: Stage, text: str) -> None:
    assert delivery_faults.of_status(None, text, reply=550, stage=stage).fault.is_operators


def test_nothing_in_an_address_is_taken_for_a_word() -> None:
    for address in ("spamhaus.spf.relay-denied@quota-exceeded.example", "<user-unknown@no-such-user.example>"):
        assert delivery_faults.of_status(None, f"5.0.0 {address}", reply=550, stage=Stage.RCPT).cause is Cause.NOT_SAID
        found = delivery_faults.of_status(None, f"5.1.1 {address}: user unknown", reply=550, stage=Stage.RCPT)
        assert found.cause is Cause.NO_MAILBOX


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("550 5.1.1 no", "5.1.1"),
        ("(#5.1.1)", "5.1.1"),
        ("ends with 5.7.1.", "5.7.1"),
        ("5.0.0 and then 5.7.26", "5.7.26"),
        ("192.5.1.1 is an address", None),
        ("5.1.1.7 too", None),
        ("version 15.1.1", None),
        ("", None),
        ("5." * 5000, None),
    ],
)
def test_a_code_is_found_among_words_and_no_address_of_a_host_is_taken_for_one(text: str, code: str | None) -> None:
    assert delivery_faults.enhanced_code(text) == code


def test_a_report_takes_the_words_where_its_status_says_nothing() -> None:
    def judge(status: str | None, text: str) -> Cause:
        return delivery_faults.of_status(status, text, stage=Stage.REPORT).cause

    assert judge("5.0.0", "smtp; 550 5.1.1 bad") is Cause.NO_MAILBOX
    assert judge(None, "smtp; 550 no such user") is Cause.NO_MAILBOX
    assert judge("5.7.1", "smtp; 550 5.1.1 user unknown") is Cause.NO_MAILBOX
    assert judge("5.1.1", "smtp; 554 5.7.1 blocked using dnsbl.example") is Cause.BLOCKLISTED
    assert judge("4.4.7", "delivery time expired") is Cause.ROUTE
    assert judge("no status", "") is Cause.NOT_SAID
    assert judge("5.0.0 (recipient reached disk quota)", "") is Cause.MAILBOX_FULL
    assert judge("553 Exceeded maximum inbound message size", "") is Cause.TOO_LARGE
    assert judge("5.0.0", "X-Postfix; host mx.example said: 550 unknown user") is Cause.NO_MAILBOX
    assert judge("5.0.0", "smtp; 552 Message for <a@b.example> would exceed mailbox quota") is Cause.MAILBOX_FULL
    assert judge("4.0.0", "unable to connect to a daemon: Connection refused") is Cause.NOT_SAID


# -- mail providers ------------------------------------------------------------------------------------------------------------

SES: list[tuple[str, str, str | None, str, Cause]] = [
    ("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown", Cause.NO_MAILBOX),
    ("Permanent", "NoEmail", None, "", Cause.NO_MAILBOX),
    ("Permanent", "General", "5.7.1", "smtp; 554 5.7.1 blocked using zen.spamhaus.org", Cause.BLOCKLISTED),
    ("Permanent", "General", "5.7.26", "smtp; 550 5.7.26 unauthenticated", Cause.NOT_AUTHENTICATED),
    ("Permanent", "General", None, "", Cause.NOT_SAID),
    ("Permanent", "Suppressed", "5.1.1", "", Cause.SUPPRESSED),
    ("Permanent", "OnAccountSuppressionList", None, "", Cause.SUPPRESSED),
    ("Transient", "MailboxFull", "5.2.2", "", Cause.MAILBOX_FULL),
    ("Transient", "MessageTooLarge", None, "", Cause.TOO_LARGE),
    ("Transient", "ContentRejected", None, "", Cause.CONTENT),
    ("Transient", "CustomTimeoutExceeded", None, "", Cause.ROUTE),
    ("Transient", "General", None, "", Cause.NOT_SAID),
    ("Undetermined", "Undetermined", None, "", Cause.NOT_SAID),
]
POSTMARK: list[tuple[str, str, Cause | None]] = [
    ("HardBounce", "", Cause.NO_MAILBOX),
    ("HardBounce", "smtp;550 5.7.1 Service unavailable; blocked using zen.spamhaus.org", Cause.BLOCKLISTED),
    ("HardBounce", "smtp;552 5.2.2 mailbox full", Cause.MAILBOX_FULL),
    ("BadEmailAddress", "", Cause.NO_MAILBOX),
    ("ManuallyDeactivated", "smtp;550 5.7.1 no", Cause.SUPPRESSED),
    ("SoftBounce", "", Cause.NOT_SAID),
    ("SoftBounce", "smtp;550 5.1.1 user unknown", Cause.NO_MAILBOX),
    ("Transient", "smtp;452 4.2.2 full", Cause.MAILBOX_FULL),
    ("DnsError", "", Cause.NO_ANSWER),
    ("Blocked", "", Cause.POLICY),
    ("SpamNotification", "", Cause.CONTENT),
    ("DMARCPolicy", "", Cause.NOT_AUTHENTICATED),
    ("SMTPApiError", "", Cause.SYSTEM),
    ("Unknown", "", Cause.NOT_SAID),
    ("AutoResponder", "", None),
    ("Unsubscribe", "", None),
]


@pytest.mark.parametrize(("kind", "subtype", "code", "text", "cause"), SES)
def test_a_bounce_of_ses_is_judged_by_what_the_receiver_said(
    kind: str, subtype: str, code: str | None, text: str, cause: Cause
) -> None:
    assert delivery_faults.of_ses_bounce(kind, subtype, code, text).cause is cause


@pytest.mark.parametrize(("kind", "text", "cause"), POSTMARK)
def test_a_bounce_of_postmark_is_judged_by_what_the_receiver_said(kind: str, text: str, cause: Cause | None) -> None:
    found = delivery_faults.of_postmark_bounce(kind, text)
    assert (found and found.cause) is cause


# -- carriers ------------------------------------------------------------------------------------------------------------------

OUR_NUMBER = "+12025550199"
CARRIER: list[tuple[int, int | None, PhoneCause, type[DeliveryError]]] = [
    (400, 21211, PhoneCause.NUMBER, Bounced),
    (400, 21614, PhoneCause.NO_TEXTS, Bounced),
    (400, 21635, PhoneCause.NO_TEXTS, Bounced),
    (400, 21610, PhoneCause.OPTED_OUT, Bounced),
    (400, 21608, PhoneCause.TRIAL, Unroutable),
    (400, 572_005, PhoneCause.TRIAL, Unroutable),
    (400, 21408, PhoneCause.REGION, Unroutable),
    (400, 21612, PhoneCause.NO_ROUTE, Unroutable),
    (400, 21617, PhoneCause.REQUEST, Unroutable),
    (403, 20005, PhoneCause.ACCOUNT, ChannelDown),
    (401, 20003, PhoneCause.ACCOUNT, ChannelDown),
    (400, 21705, PhoneCause.ACCOUNT, ChannelDown),
    (400, 21606, PhoneCause.SENDER, ChannelDown),
    (400, 21660, PhoneCause.SENDER, ChannelDown),
    (402, None, PhoneCause.ACCOUNT, ChannelDown),
    (301, None, PhoneCause.NOT_THE_CARRIER, ChannelDown),
    (302, None, PhoneCause.NOT_THE_CARRIER, ChannelDown),
    (307, None, PhoneCause.NOT_THE_CARRIER, ChannelDown),
    (404, 20404, PhoneCause.ACCOUNT, ChannelDown),
    (429, 20429, PhoneCause.RATE, Faulty),
    (500, None, PhoneCause.CARRIER, Faulty),
    (503, 20503, PhoneCause.CARRIER, Faulty),
    (400, 99_999, PhoneCause.NOT_SAID, Temporary),  # a code of next year is nobody's fault yet
    (418, None, PhoneCause.NOT_SAID, Temporary),
]
CALLBACK: list[tuple[str, str, PhoneCause]] = [
    ("undelivered", "30003", PhoneCause.OUT_OF_REACH),
    ("undelivered", "30004", PhoneCause.BLOCKED),
    ("undelivered", "30005", PhoneCause.NUMBER),
    ("undelivered", "30006", PhoneCause.NO_TEXTS),
    ("undelivered", "30007", PhoneCause.FILTERED),
    ("undelivered", "30008", PhoneCause.NETWORK),
    ("undelivered", "30024", PhoneCause.UNREGISTERED),
    ("undelivered", "30032", PhoneCause.UNREGISTERED),
    ("undelivered", "30034", PhoneCause.UNREGISTERED),
    ("undelivered", "30035", PhoneCause.UNREGISTERED),
    ("failed", "30002", PhoneCause.ACCOUNT),
    ("failed", "30001", PhoneCause.RATE),
    ("failed", "21610", PhoneCause.OPTED_OUT),
    ("failed", "30454", PhoneCause.FRAUD_GUARD),
    ("failed", "13224", PhoneCause.NUMBER),
    ("failed", "13227", PhoneCause.REGION),
    ("failed", "", PhoneCause.NOT_SAID),
    ("failed", "٣٠٠٠٥", PhoneCause.NOT_SAID),
    ("failed", "9" * 4000, PhoneCause.NOT_SAID),
    ("busy", "", PhoneCause.BUSY_LINE),
    ("no-answer", "", PhoneCause.NO_ANSWER),
]


def carrier() -> Carrier:
    account = Twilio(account_sid="AC1", auth_token="t", sender=OUR_NUMBER, api_url="http://127.0.0.1:1")
    return Carrier("FIRST", account, None, connections=1)


@pytest.mark.parametrize(("status", "code", "cause", "becomes"), CARRIER)
def test_a_carriers_refusal_is_judged_by_its_code_and_status(
    status: int, code: int | None, cause: PhoneCause, becomes: type[DeliveryError]
) -> None:
    error = carrier()._refusal(httpx.Response(status), code)
    assert error.judgment is not None
    assert (error.judgment.cause, type(error)) == (cause, becomes)


@pytest.mark.parametrize(("status", "code", "cause"), CALLBACK)
def test_a_callback_is_judged_by_its_code_and_status(status: str, code: str, cause: PhoneCause) -> None:
    assert delivery_faults.of_callback(status, code, sender=OUR_NUMBER).cause is cause


def test_each_code_of_a_carrier_has_one_cause() -> None:
    codes = [code for text in carriers._CODES.values() for code in carriers._numbers(text)]
    assert len(codes) == len(set(codes)) > 150


def test_whoever_texted_stop_reads_where_to_text_start() -> None:
    problem = delivery_faults.of_answer(400, 21610, sender=OUR_NUMBER).problem
    assert f"Text START to {OUR_NUMBER}" in problem
    assert "ask for a call" in problem
    assert "another phone" not in problem


@pytest.mark.parametrize("cause", [*Cause, *PhoneCause])
def test_what_is_ours_blames_neither_address_nor_number_and_says_who_was_told(cause: Cause | PhoneCause) -> None:
    advice = cause.advice
    if cause.fault is Fault.RECIPIENT:
        assert "operator" not in advice
    elif cause.fault is Fault.SENDER:
        assert "is not at fault. The operator of this product has been told." in advice
        assert "Check the" not in advice
    assert advice[0].isupper()
    assert advice.endswith(".")
    assert len(advice) < 220


# -- the table -----------------------------------------------------------------------------------------------------------------


def table() -> Iterator[tuple[str, str, str, str]]:
    """What was said, whose fault it is, what the administrator reads, what happens."""
    for reply, text, _, _ in SMTP:
        error = refusal(reply, text)
        assert error.judgment is not None
        yield f"{reply} {text}", error.judgment.fault, error.problem, HAPPENS[type(error)]
    for kind, subtype, code, text, _ in SES:
        judgment = delivery_faults.of_ses_bounce(kind, subtype, code, text)
        report = mail_reports.failed(uuid7(), judgment)
        yield f"SES {kind}/{subtype} {code or ''} {text}", judgment.fault, judgment.failed, report.verdict
    for kind, text, _ in POSTMARK:
        found = delivery_faults.of_postmark_bounce(kind, text)
        if found is not None:
            yield f"Postmark {kind} {text}", found.fault, found.failed, mail_reports.failed(uuid7(), found).verdict
    for status, number, _, _ in CARRIER:
        refused = carrier()._refusal(httpx.Response(status), number)
        assert refused.judgment is not None
        yield f"carrier {status} {number or ''}", refused.judgment.fault, refused.problem, HAPPENS[type(refused)]
    for name, told, _ in CALLBACK:
        one = delivery_faults.of_callback(name, told, sender=OUR_NUMBER)
        happens = "BOUNCED" if one.fault is Fault.RECIPIENT else "FAILED; a call follows a text"
        yield f"callback {name} {told[:8]}", one.fault, one.problem, happens


def test_the_table_of_faults_is_whole() -> None:
    rows = list(table())
    for said, fault, reads, happens in rows:
        print(f"{said[:70]:<70} | {fault:<9} | {reads:<150} | {happens}")  # noqa: T201 -- with -s, to be read
    assert {fault for _, fault, _, _ in rows} == set(Fault)
    assert all(
        (fault == Fault.RECIPIENT) == happens.startswith("BOUNCED")
        for _, fault, _, happens in rows
        if "450 4.1.1" not in _
    )
