"""The rules that the database keeps by itself, whatever the program does: each is there, and each refuses."""

import importlib
import uuid
from datetime import UTC, datetime, timedelta
from pkgutil import iter_modules
from typing import Any

import pytest
import pytest_asyncio
from tortoise.exceptions import IntegrityError

from domain import database, migrations

guards = importlib.import_module("domain.migrations.0002_guards")
# Every migration that has guards writes them down in the same two dictionaries.
MIGRATIONS = [importlib.import_module(f"domain.migrations.{one.name}") for one in iter_modules(migrations.__path__)]
RULES = {(table, rule) for one in MIGRATIONS for table, rules in getattr(one, "CHECKS", {}).items() for rule in rules}
REPLACED = {name for one in MIGRATIONS for name in getattr(one, "OLD_INDEXES", {})}
INDEXES: dict[str, str] = {
    name: what for one in MIGRATIONS for name, what in getattr(one, "INDEXES", {}).items() if name not in REPLACED
}

Values = dict[str, Any]

NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=10)
NONCE = b"n" * 16
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
PRACTICE, USER, INVITED, INVITATION, SIGN_UP, ENROLLMENT, CHALLENGE, DELIVERY = (uuid.UUID(int=n) for n in range(1, 9))


async def test_every_check_is_in_the_database_and_holds_for_all_rows(db: None) -> None:
    found = {
        row["conname"]: row["convalidated"]
        for row in await database.fetch(
            "SELECT conname, convalidated FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
        )
    }
    wanted = {guards.check_name(table, rule) for table, rule in RULES}
    assert len(wanted) > 40
    assert {name for name in wanted if not found.get(name)} == set()


async def test_every_index_is_in_the_database_and_usable(db: None) -> None:
    found = {
        row["name"]: row
        for row in await database.fetch(
            "SELECT c.relname AS name, i.indisvalid AND i.indisready AND i.indislive AS usable, i.indisunique AS is_unique,"
            " i.indpred IS NOT NULL AS is_partial FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " WHERE c.relnamespace = 'public'::regnamespace"
        )
    }
    assert set(INDEXES) <= set(found)
    assert not REPLACED & set(found)
    for name, definition in INDEXES.items():
        assert found[name]["usable"], name
        assert found[name]["is_unique"] == definition.startswith("UNIQUE "), name
        assert found[name]["is_unique"] == name.startswith("uq_"), name
        assert found[name]["is_partial"] == (" WHERE " in definition), name


def user(**changes: Any) -> Values:
    """A user who has finished."""
    return {
        "practice_id": PRACTICE,
        "first_name": "Grace",
        "last_name": "Hopper",
        "sort_name": "hopper grace",
        "email": "Grace@Clinic.example",
        "email_canonical": "grace@clinic.example",
        "holds_email": True,
        "access_level": "PROVIDER",
        "status": "ACTIVE",
        "phone": "+12025550143",
        "phone_verified_at": NOW,
        "password_hash": HASH,
        "password_key_id": "0123abcd",
        "created_at": NOW,
    } | changes


def invited(**changes: Any) -> Values:
    """A user who has not."""
    none = dict.fromkeys(("phone", "phone_verified_at", "password_hash", "password_key_id"))
    return user(status="INVITED", **none) | changes


def code(**changes: Any) -> Values:
    """A security code for a phone that is being proved."""
    return {
        "enrollment_id": ENROLLMENT,
        "challenge_id": None,
        "phone": "+12025550143",
        "channel": "SMS",
        "nonce": NONCE,
        "key_id": "0123abcd",
        "attempts": 0,
        "expires_at": LATER,
        "created_at": NOW,
    } | changes


PERSON = {
    "first_name": "Ada",
    "last_name": "Lovelace",
    "email": "ada@elm.example",
    "email_canonical": "ada@elm.example",
}
ROWS: dict[str, Values] = {
    "channel_refusals": {
        "channel": "EMAIL",
        "code": "554 5.7.1",
        "organization": "clinic.example",
        "practice_id": PRACTICE,
        "refused_at": NOW,
    },
    "practices": {"name": "Elm", "specialty": "Family", "phone": "+12025550100", "time_zone": "UTC", "created_at": NOW},
    "subscriptions": {
        "practice_id": PRACTICE,
        "plan": "standard",
        "status": "TRIALING",
        "trial_ends_at": LATER,
        "updated_at": NOW,
    },
    "practice_access_codes": {
        "practice_id": PRACTICE,
        "nonce": NONCE,
        "key_id": "0123abcd",
        "issued_at": NOW,
        "valid_until": None,
    },
    "users": user(),
    "sign_ups": PERSON
    | {"phone": "+12025550100", "practice_name": "Elm", "specialty": "Family", "time_zone": "UTC"}
    | {"nonce": NONCE, "key_id": "0123abcd", "expires_at": LATER, "created_at": NOW},
    "invitations": {
        "practice_id": PRACTICE,
        "user_id": INVITED,
        "invited_by_id": USER,
        "state": "PENDING",
        "nonce": NONCE,
    }
    | {
        "key_id": "0123abcd",
        "delivery_id": DELIVERY,
        "sends": 1,
        "last_send_at": NOW,
        "expires_at": LATER,
        "created_at": NOW,
    },
    "enrollments": {"invitation_id": INVITATION, "sign_up_id": None, "next_step": "SEND_PHONE_CODE", "phone": None}
    | {
        "phone_verified_at": None,
        "nonce": NONCE,
        "key_id": "0123abcd",
        "expires_at": LATER,
        "ended_at": None,
        "created_at": NOW,
    },
    "security_codes": code(),
    "devices": {"user_id": USER, "token_hash": b"d" * 32, "name": "iPhone", "trusted_until": LATER, "created_at": NOW},
    "sessions": {"user_id": USER, "token_hash": b"s" * 32, "device_name": "iPhone", "ip_address": "::1"}
    | {"authenticated_at": NOW, "last_used_at": NOW, "expires_at": LATER, "created_at": NOW},
    "challenges": {
        "user_id": USER,
        "token_hash": b"c" * 32,
        "device_name": "iPhone",
        "expires_at": LATER,
        "created_at": NOW,
    },
    "password_resets": {"user_id": USER, "nonce": NONCE, "key_id": "0123abcd", "expires_at": LATER, "created_at": NOW},
    "recovery_codes": {"user_id": USER, "mac": b"r" * 32, "key_id": "0123abcd", "created_at": NOW},
    "account_changes": {
        "user_id": USER,
        "kind": "EMAIL",
        "changed_by": "Ada",
        "old_email": "Ada@elm.example",
        "old_email_canonical": "ada@elm.example",
        "nonce": NONCE,
        "key_id": "0123abcd",
        "effective_at": NOW,
        "expires_at": LATER,
        "carried_out_at": NOW,
        "created_at": NOW,
    },
    "email_changes": {
        "user_id": USER,
        "email": "Ada@new.example",
        "email_canonical": "ada@new.example",
        "old_email": "ada@elm.example",
        "nonce": NONCE,
        "key_id": "0123abcd",
        "expires_at": LATER,
        "created_at": NOW,
    },
    "login_settings": {"practice_id": PRACTICE, "user_id": USER, "session_hours": 8, "updated_at": NOW},
    "practice_notices": {"practice_id": PRACTICE, "kind": "PAST_DUE", "about": LATER, "queued_at": NOW},
    "subscription_events": {"id": "evt_1", "practice_id": PRACTICE, "received_at": NOW},
    "guess_counters": {"key": "password:x", "failures": 1, "locks": 0, "updated_at": NOW},
    "code_stops": {
        "scope": "PREFIX",
        "subject": "+1202555",
        "numbers": 20,
        "verified": 1,
        "began_at": NOW,
        "ends_at": LATER,
    },
    "budgets": {"key": "codes:x", "window_starts_at": NOW, "window_ends_at": LATER, "used": 1},
    "deliveries": {"subject_id": INVITATION, "kind": "invitation", "channel": "EMAIL", "lane": 2, "status": "QUEUED"}
    | {"attempts": 0, "queued_at": NOW, "due_at": NOW, "expires_at": LATER},
    "bounced_addresses": {"practice_id": PRACTICE, "email_canonical": "ada@elm.example", "delivery_id": DELIVERY}
    | {"is_complaint": False, "reason": "It came back.", "bounced_at": NOW},
    "feedback_events": {"id": "ses:1", "received_at": NOW},
    "audit_events": {"occurred_at": NOW, "action": "user.invited", "actor_name": "Ada", "details": "{}"},
}
KEYLESS = {"subscriptions", "subscription_events", "feedback_events", "guess_counters", "budgets"}


async def insert(table: str, values: Values, row_id: uuid.UUID | None = None) -> None:
    """Put a row into a table."""
    if table not in KEYLESS:
        values = {"id": row_id or uuid.uuid4()} | values
    places = ", ".join(f"${place + 1}" for place in range(len(values)))
    await database.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({places})", *values.values())


async def refused_by(table: str, values: Values) -> str:
    """The constraint that refuses a row."""
    with pytest.raises(IntegrityError) as refused:
        await insert(table, values)
    return database.violated_constraint(refused.value)


@pytest_asyncio.fixture
async def parents(db: None) -> None:
    """One row of everything that others refer to."""
    await insert("practices", ROWS["practices"], PRACTICE)
    await insert("users", user(email_canonical="ada@clinic.example", access_level="ADMINISTRATOR"), USER)
    await insert("users", invited(email_canonical="new@clinic.example"), INVITED)
    await insert("users", invited(email_canonical="second@clinic.example"), uuid.UUID(int=20))
    await insert("invitations", ROWS["invitations"] | {"user_id": uuid.UUID(int=20)}, INVITATION)
    await insert("sign_ups", ROWS["sign_ups"], SIGN_UP)
    await insert("enrollments", ROWS["enrollments"] | {"ended_at": NOW}, ENROLLMENT)
    await insert("challenges", ROWS["challenges"] | {"token_hash": b"p" * 32}, CHALLENGE)


# Which row of which table, changed how, is refused by which rule.
REFUSED: list[tuple[str, Values, str]] = [
    ("practices", {"name": ""}, "name"),
    ("practices", {"phone": "2025550100"}, "phone"),
    ("practices", {"phone": "+1 202 555 0100"}, "phone"),
    ("subscriptions", {"status": "FREE"}, "status"),
    ("subscriptions", {"trial_ends_at": None}, "trial"),
    ("subscriptions", {"status": "PAST_DUE"}, "past_due"),
    ("practices", {"access_code_rotation_days": -1}, "access_code_rotation"),
    ("practices", {"access_code_rotation_days": 366}, "access_code_rotation"),
    ("practices", {"access_code_grace_hours": -1}, "access_code_grace"),
    ("practices", {"access_code_grace_hours": 169}, "access_code_grace"),
    ("practice_notices", {"kind": "ADVERTISEMENT"}, "kind"),
    ("subscription_events", {"id": ""}, "id"),
    ("practice_access_codes", {"nonce": b""}, "nonce"),
    ("practice_access_codes", {"valid_until": NOW - timedelta(seconds=1)}, "validity"),
    ("users", {"status": "PENDING"}, "status"),
    ("users", {"access_level": "SUPERUSER"}, "access_level"),
    ("users", {"first_name": ""}, "first_name"),
    ("users", {"last_name": "Hopper "}, "last_name"),
    ("users", {"email_canonical": "Grace@clinic.example"}, "email"),
    ("users", {"email_canonical": "grace"}, "email"),
    ("users", {"email_canonical": "grace@clinic.example\nbcc:eve@evil.example"}, "email"),
    ("users", {"email_canonical": "grace@clinic.example,eve@evil.example"}, "email"),
    ("users", {"phone": "12025550143"}, "phone"),
    ("users", {"status": "INACTIVE", "phone": None}, "verified_phone"),
    ("users", {"password_hash": None}, "active_is_complete"),
    ("users", {"phone_verified_at": None}, "active_is_complete"),
    ("users", {"address_released_at": NOW}, "active_is_complete"),
    ("users", {"status": "INVITED", "password_hash": None, "address_released_at": NOW}, "released_is_inactive"),
    ("users", {"status": "INVITED"}, "invited_has_no_password"),
    ("users", {"password_hash": "correct horse battery staple"}, "password_is_hashed"),
    ("users", {"password_hash": HASH.replace("argon2id", "argon2i")}, "password_is_hashed"),
    ("users", {"password_key_id": None}, "password_is_hashed"),
    ("users", {"status": "INACTIVE", "removed_at": NOW, "holds_email": False}, "removed_was_invited"),
    ("sign_ups", {"email_canonical": "Ada@elm.example"}, "email"),
    ("sign_ups", {"nonce": b"n" * 15}, "nonce"),
    ("invitations", {"state": "EXPIRED"}, "state"),
    ("invitations", {"state": "ACCEPTED"}, "accepted"),
    ("invitations", {"accepted_at": NOW}, "accepted"),
    ("invitations", {"state": "REVOKED"}, "revoked"),
    ("invitations", {"revoked_at": NOW}, "revoked"),
    ("invitations", {"end_reason": "EXPIRED"}, "end_reason"),
    ("invitations", {"sends": 0}, "sends"),
    ("invitations", {"nonce": b"n" * 17}, "nonce"),
    ("enrollments", {"invitation_id": None}, "one_way_in"),
    ("enrollments", {"sign_up_id": SIGN_UP}, "one_way_in"),
    ("enrollments", {"next_step": "SKIP", "phone": "+12025550143", "phone_verified_at": NOW}, "next_step"),
    ("enrollments", {"next_step": "VERIFY_PHONE"}, "code_needs_phone"),
    ("enrollments", {"next_step": "SET_PASSWORD", "phone": "+12025550143"}, "password_needs_verified_phone"),
    ("enrollments", {"phone": "+12025550143", "phone_verified_at": NOW}, "password_needs_verified_phone"),
    ("enrollments", {"next_step": "DONE", "phone": "+12025550143", "phone_verified_at": NOW}, "done_is_ended"),
    ("enrollments", {"phone": "2025550143"}, "phone"),
    ("enrollments", {"nonce": b""}, "nonce"),
    ("security_codes", {"enrollment_id": None}, "one_flow"),
    ("security_codes", {"challenge_id": CHALLENGE}, "one_flow"),
    ("security_codes", {"attempts": 6}, "attempts"),
    ("security_codes", {"attempts": -1}, "attempts"),
    ("security_codes", {"channel": "EMAIL"}, "channel"),
    ("security_codes", {"phone": "2025550143"}, "phone"),
    ("security_codes", {"nonce": b""}, "nonce"),
    ("security_codes", {"expires_at": NOW + timedelta(hours=1)}, "lifetime"),
    ("security_codes", {"channel": "VOICE", "fallback_at": NOW}, "fallback"),
    ("devices", {"token_hash": b"a token in clear"}, "token_hash"),
    ("sessions", {"token_hash": b"a token in clear"}, "token_hash"),
    ("challenges", {"token_hash": b"a token in clear"}, "token_hash"),
    ("users", {"phone_reset_at": NOW}, "active_is_complete"),
    ("challenges", {"purpose": "OTHER"}, "purpose"),
    ("challenges", {"purpose": "PASSWORD_RESET"}, "reset"),
    ("challenges", {"reset_id": USER}, "reset"),
    ("challenges", {"purpose": "RENEWAL"}, "session"),
    ("challenges", {"session_id": USER}, "session"),
    ("challenges", {"purpose": "EMAIL_CHANGE", "session_id": USER, "email": "a@b.example"}, "email"),
    ("challenges", {"email": "a@b.example", "email_canonical": "a@b.example"}, "email"),
    ("challenges", {"purpose": "PHONE_CHANGE", "session_id": USER}, "phone"),
    ("challenges", {"purpose": "PHONE_CHANGE", "session_id": USER, "phone": "5550143"}, "phone"),
    ("challenges", {"phone": "+12025550143"}, "phone"),
    ("password_resets", {"nonce": b"short"}, "nonce"),
    ("recovery_codes", {"mac": b"a code in clear"}, "mac"),
    ("recovery_codes", {"used_at": NOW, "superseded_at": NOW}, "end"),
    ("account_changes", {"kind": "NAME", "old_email": None, "old_email_canonical": None}, "kind"),
    ("account_changes", {"nonce": b"short"}, "nonce"),
    ("account_changes", {"old_email": None}, "email"),
    ("account_changes", {"kind": "PHONE"}, "email"),
    ("account_changes", {"old_phone": "+12025550143"}, "phone"),
    ("account_changes", {"effective_at": NOW - timedelta(seconds=1)}, "window"),
    ("account_changes", {"expires_at": NOW}, "window"),
    ("email_changes", {"nonce": b"short"}, "nonce"),
    ("email_changes", {"email_canonical": "Ada@new.example"}, "email"),
    ("login_settings", {"security_code": "NEVER"}, "security_code"),
    ("login_settings", {"practice_access_code": "NEVER"}, "practice_access_code"),
    ("login_settings", {"trusted_device_days": -1}, "trusted_device_days"),
    ("login_settings", {"trusted_device_days": 91}, "trusted_device_days"),
    ("login_settings", {"idle_timeout_minutes": 4}, "idle_timeout_minutes"),
    ("login_settings", {"idle_timeout_minutes": 61}, "idle_timeout_minutes"),
    ("login_settings", {"session_hours": 0}, "session_hours"),
    ("login_settings", {"session_hours": 25}, "session_hours"),
    ("login_settings", {"allowed_hours": "null"}, "allowed_hours"),
    ("login_settings", {"allowed_networks": '"10.0.0.0/8"'}, "allowed_networks"),
    ("login_settings", {"phone_channels": "[]"}, "phone_channels"),
    ("login_settings", {"phone_channels": '["SMS", "EMAIL"]'}, "phone_channels"),
    ("login_settings", {"phone_channels": '"SMS"'}, "phone_channels"),
    ("guess_counters", {"failures": -1}, "failures"),
    ("guess_counters", {"locks": -1}, "failures"),
    ("budgets", {"used": -1}, "used"),
    ("budgets", {"window_ends_at": NOW}, "window"),
    ("security_codes", {"crowd": "NOBODY"}, "crowd"),
    ("code_stops", {"scope": "COUNTRY"}, "scope"),
    ("code_stops", {"subject": ""}, "scope"),
    ("code_stops", {"scope": "ALL"}, "scope"),
    ("code_stops", {"verified": 21}, "numbers"),
    ("code_stops", {"verified": -1}, "numbers"),
    ("code_stops", {"ends_at": NOW - timedelta(seconds=1)}, "window"),
    ("deliveries", {"channel": "FAX"}, "channel"),
    ("deliveries", {"lane": 3}, "lane"),
    ("deliveries", {"status": "LOST"}, "status"),
    ("deliveries", {"status": "SENDING"}, "lease"),
    ("deliveries", {"lease_owner": uuid.UUID(int=9)}, "lease"),
    ("deliveries", {"attempts": -1}, "attempts"),
    ("deliveries", {"status": "SENT"}, "sent"),
    ("deliveries", {"carrier": "THIRD"}, "carrier"),
    ("deliveries", {"unanswered": -1}, "unanswered"),
    ("deliveries", {"fault": "NOBODY"}, "fault"),
    ("bounced_addresses", {"email_canonical": "Ada@elm.example"}, "email"),
    ("feedback_events", {"id": ""}, "id"),
    ("deliveries", {"request_id": "an id\nof two lines"}, "request_id"),
    ("deliveries", {"traceparent": "00-0"}, "traceparent"),
    ("audit_events", {"action": "user invited"}, "action"),
    ("audit_events", {"action": "user.invited\nuser.removed"}, "action"),
]


@pytest.mark.parametrize(("table", "changes", "rule"), REFUSED)
async def test_a_row_that_breaks_a_rule_is_refused(parents: None, table: str, changes: Values, rule: str) -> None:
    assert await refused_by(table, ROWS[table] | changes) == guards.check_name(table, rule)
    await insert(table, ROWS[table])


def test_every_check_has_a_row_that_it_refuses() -> None:
    assert RULES - {(table, rule) for table, _, rule in REFUSED} == set()


GONE = {"superseded_at": NOW}
OTHER_PRACTICE = uuid.UUID(int=10)
RELEASED = {"status": "INACTIVE", "address_released_at": NOW}
# The row that is there, the second that is refused for it, by which index; and what makes a second one good.
ONCE: list[tuple[str, Values, Values, str, Values]] = [
    ("users", {}, {"practice_id": OTHER_PRACTICE}, "uq_users_email", {"email_canonical": "grace@other.example"}),
    ("users", {}, {"practice_id": OTHER_PRACTICE}, "uq_users_email", invited(practice_id=OTHER_PRACTICE)),
    ("users", {}, {"practice_id": OTHER_PRACTICE, "status": "INACTIVE"}, "uq_users_email", RELEASED),
    ("users", {}, invited(), "uq_users_practice_email", invited(practice_id=OTHER_PRACTICE)),
    (
        "users",
        {"status": "INACTIVE"},
        invited(),
        "uq_users_practice_email",
        {"email_canonical": "grace@clinic.example.org"},
    ),
    ("practice_access_codes", {}, {}, "uq_practice_access_codes_current", {"valid_until": LATER}),
    ("practice_access_codes", {}, {}, "uq_practice_access_codes_current", {"practice_id": OTHER_PRACTICE}),
    ("enrollments", {}, {}, "uq_enrollments_invitation", {"ended_at": NOW}),
    ("enrollments", {"invitation_id": None, "sign_up_id": SIGN_UP}, {}, "uq_enrollments_sign_up", {"ended_at": NOW}),
    ("security_codes", {}, {}, "uq_security_codes_enrollment", {"superseded_at": NOW}),
    ("security_codes", {}, {"channel": "VOICE"}, "uq_security_codes_enrollment", {"consumed_at": NOW}),
    ("security_codes", {"enrollment_id": None, "challenge_id": CHALLENGE}, {}, "uq_security_codes_challenge", GONE),
    ("devices", {}, {}, "uq_devices_token", {"token_hash": b"e" * 32}),
    ("sessions", {}, {"ended_at": NOW}, "uq_sessions_token", {"token_hash": b"e" * 32}),
    ("challenges", {}, {}, "uq_challenges_token", {"token_hash": b"e" * 32}),
    ("password_resets", {"sent_by_id": USER}, {}, "uq_password_resets_user", {"used_at": NOW}),
    ("password_resets", {"sent_by_id": USER}, {}, "uq_password_resets_user", {"superseded_at": NOW}),
    ("password_resets", {"sent_by_id": USER}, {}, "uq_password_resets_user", {"sent_by_id": None}),
    ("email_changes", {}, {"email_canonical": "other@new.example"}, "uq_email_changes_user", {"confirmed_at": NOW}),
    ("account_changes", {"carried_out_at": None}, {}, "uq_account_changes_pending", {"stopped_at": NOW}),
    ("account_changes", {"carried_out_at": None}, {}, "uq_account_changes_pending", {"carried_out_at": NOW}),
    ("login_settings", {}, {"session_hours": 9}, "uq_login_settings_user", {"user_id": INVITED}),
    ("login_settings", {"user_id": None}, {}, "uq_login_settings_practice", {"practice_id": OTHER_PRACTICE}),
    ("practice_notices", {}, {"queued_at": LATER}, "uq_practice_notices_once", {"kind": "LAPSED"}),
    ("practice_notices", {}, {}, "uq_practice_notices_once", {"about": NOW}),
    ("bounced_addresses", {}, {"is_complaint": True}, "uq_bounced_addresses_email", {"practice_id": OTHER_PRACTICE}),
    ("channel_refusals", {}, {"refused_at": LATER}, "uq_channel_refusals_refusal", {"organization": "elm.example"}),
    ("channel_refusals", {}, {}, "uq_channel_refusals_refusal", {"practice_id": OTHER_PRACTICE}),
    ("code_stops", {}, {"numbers": 30}, "uq_code_stops_subject", {"scope": "ALL", "subject": ""}),
    ("code_stops", {}, {}, "uq_code_stops_subject", {"subject": "+1202556"}),
    ("deliveries", {"redelivery_of": DELIVERY}, {}, "uq_deliveries_redelivery", {"redelivery_of": INVITATION}),
    ("deliveries", {"redelivery_of": DELIVERY}, {}, "uq_deliveries_redelivery", {"redelivery_of": None}),
    ("budgets", {}, {}, "uq_budgets_window", {"window_starts_at": NOW - timedelta(days=1)}),
]


@pytest.mark.parametrize(("table", "first", "second", "index", "good"), ONCE)
async def test_what_there_is_once_is_there_once(
    parents: None, table: str, first: Values, second: Values, index: str, good: Values
) -> None:
    await insert("practices", ROWS["practices"], OTHER_PRACTICE)
    row = ROWS[table] | first
    await insert(table, row)
    assert await refused_by(table, row | second) == index
    await insert(table, row | good)


def test_every_unique_index_has_a_row_that_it_refuses() -> None:
    assert {index for index in INDEXES if index.startswith("uq_")} == {index for _, _, _, index, _ in ONCE}


@pytest.mark.parametrize("table", ["users", "practices", "invitations", "challenges"])
async def test_what_others_refer_to_cannot_be_deleted(parents: None, table: str) -> None:
    await insert("sessions", ROWS["sessions"])
    await insert("security_codes", code(enrollment_id=None, challenge_id=CHALLENGE))
    with pytest.raises(IntegrityError):
        await database.execute(f"DELETE FROM {table}")


async def test_an_invitation_is_one_persons_and_a_subscription_one_practices(parents: None) -> None:
    for table in ("invitations", "subscriptions"):
        await insert(table, ROWS[table])
        assert await refused_by(table, ROWS[table]) != ""
