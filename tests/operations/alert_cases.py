"""Figures at which each alert fires, and figures at which it does not, in promtool's notation (`docs/alerts.yml` has the rules).

`0+2x60` begins at 0 and adds 2 a minute for an hour; `_` is no value.
"""

from dataclasses import dataclass, field

Series = dict[str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One alert at one moment. at: since the first value. firing: the labels of each alert that fires then, without its severity."""

    alert: str
    why: str
    series: Series
    at: str = "30m"
    firing: list[dict[str, str]] = field(default_factory=list)


API = 'up{job="practice-access-api",instance="api:9464"}'
API_2 = 'up{job="practice-access-api",instance="api:9465"}'
WORKER = 'up{job="practice-access-worker",instance="worker:9464"}'
WORKER_2 = 'up{job="practice-access-worker",instance="worker:9465"}'
ONE = [dict[str, str]()]  # one alert without labels of its own


def _m(name: str, **labels: str) -> str:
    text = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"practice_access_{name}{{{text}}}"


def _codes(outcome: str) -> str:
    return _m("deliveries_total", channel="SMS", kind="security_code", outcome=outcome, instance="worker:9464")


def _mails(outcome: str) -> str:
    return _m("deliveries_total", channel="EMAIL", kind="invitation", outcome=outcome, instance="worker:9464")


def _waiting(instance: str, kind: str = "invitation") -> str:
    return _m("deliveries_waiting", channel="EMAIL", kind=kind, status="retrying", instance=instance)


def _oldest(channel: str, kind: str) -> str:
    return _m("delivery_oldest_waiting_seconds", channel=channel, kind=kind, instance="worker:9464")


def _accepted(le: str) -> str:
    return _m("delivery_accepted_seconds_bucket", channel="SMS", kind="security_code", le=le)


def _report(report: str) -> str:
    return _m("delivery_reports_total", report=report, instance="api:9464")


def _fault(fault: str) -> str:
    return _m("delivery_faults_total", channel="EMAIL", fault=fault, instance="worker:9464")


def _breaker(state: str) -> str:
    return _m("breaker", breaker="mail relay", state=state, instance="worker:9464")


def _operations(outcome: str) -> str:
    return _m("graphql_operation_seconds_count", type="query", outcome=outcome, instance="api:9464")


def _pool(name: str, **labels: str) -> str:
    return _m(name, instance="api:9464", **labels)


POOL = {"instance": "api:9464"}
OLD_JOB = _m("job_done_timestamp_seconds", task="throw away")
JOB_INTERVAL = _m("job_interval_seconds", task="throw away")

CASES = [
    Case(
        "ApiDown",
        "all API processes are down",
        {API: "1x10 0x30", API_2: "0x40", WORKER: "1x40"},
        firing=ONE,
    ),
    Case("ApiDown", "no API process is among the targets", {WORKER: "1x40"}, firing=ONE),
    Case("ApiDown", "one of two is up", {API: "0x40", API_2: "1x40"}),
    Case("ApiDown", "all were away for less than a minute", {API: "1x29 0"}, at="29m30s"),
    Case("NoWorker", "no process has a schedule", {API: "1x40", WORKER: "0x40"}, firing=ONE),
    Case("NoWorker", "one process has", {JOB_INTERVAL: "60x40"}),
    Case(
        "ProcessDown",
        "one of two workers is down",
        {API: "1x40", WORKER: "1x40", WORKER_2: "1x10 0x30"},
        firing=[{"job": "practice-access-worker", "instance": "worker:9465"}],
    ),
    Case(
        "ProcessDown",
        "one of two API processes is down",
        {API: "0x40", API_2: "1x40"},
        firing=[{"job": "practice-access-api", "instance": "api:9464"}],
    ),
    Case("ProcessDown", "one is started anew", {WORKER: "1x10 0x2 1x30", WORKER_2: "1x40"}, at="13m"),
    Case("ProcessDown", "something else is down", {'up{job="node",instance="a:1"}': "0x40", WORKER: "1x40"}),
    Case(
        "WorkerRestarts",
        "one ended and was started anew",
        {
            _m("worker_restarts_total", instance="worker:9464"): "0x20 _ 1x20",
            _m("worker_restarts_total", instance="worker:9465"): "0x41",
        },
        firing=[{"instance": "worker:9464"}],
    ),
    Case(
        "WorkerRestarts", "it was long ago", {_m("worker_restarts_total", instance="worker:9464"): "0x5 1x90"}, at="90m"
    ),
    Case(
        "DatabaseAway",
        "nobody gets an answer",
        {_m("database_answers", instance="a"): "1x10 0x30", _m("database_answers", instance="b"): "0x40"},
        firing=ONE,
    ),
    Case(
        "DatabaseAway",
        "one process gets one",
        {_m("database_answers", instance="a"): "1x40", _m("database_answers", instance="b"): "0x40"},
    ),
    Case("CodesWait", "a code waits for a minute", {_oldest("SMS", "security_code"): "0x27 60x5"}, firing=ONE),
    Case(
        "CodesWait",
        "a code waits for some seconds, an e-mail for longer",
        {_oldest("SMS", "security_code"): "5x40", _oldest("EMAIL", "invitation"): "600x40"},
    ),
    Case(
        "CodesFail",
        "all fail",
        {_codes("failed"): "0x20 0+1x20", _codes("bounced"): "0x40", _codes("sent"): "0+1x20 20x20"},
        at="33m",
        firing=ONE,
    ),
    Case(
        "CodesFail",
        "most fail, one goes out",
        {_codes("failed"): "0+2x40", _codes("bounced"): "0x40", _codes("sent"): "0x25 1x15"},
    ),
    Case(
        "CodesFail",
        "a few numbers are wrong in a quiet night",
        {_codes("failed"): "0x25 4x15", _codes("bounced"): "0x40", _codes("sent"): "7x40"},
    ),
    Case("CodesFail", "e-mails fail", {_mails("failed"): "0+5x40", _codes("failed"): "0x40", _codes("sent"): "0x40"}),
    Case(
        "NothingArrives",
        "everything is reported as lost",
        {_report("failed"): "0+1x60", _report("delivered"): "0x60"},
        at="45m",
        firing=ONE,
    ),
    Case("NothingArrives", "some arrive", {_report("failed"): "0+1x60", _report("delivered"): "0x30 1x30"}, at="45m"),
    Case(
        "NothingArrives", "few are reported", {_report("failed"): "0x20 5x40", _report("delivered"): "0x60"}, at="45m"
    ),
    Case(
        "NothingSent",
        "mails wait and none is sent",
        # The same rows, told by two processes, are counted once.
        {_waiting("a"): "3x60", _waiting("b"): "3x60", _mails("sent"): "5x60"},
        at="45m",
        firing=[{"channel": "EMAIL"}],
    ),
    Case(
        "NothingSent",
        "two wait for their own receivers",
        {_waiting("a"): "2x60", _waiting("b"): "2x60", _mails("sent"): "5x60"},
        at="45m",
    ),
    Case("NothingSent", "mails are sent, slowly", {_waiting("a"): "500x60", _mails("sent"): "0+1x60"}, at="45m"),
    Case("NothingSent", "nothing waits", {_waiting("a"): "0x60", _mails("sent"): "5x60"}, at="45m"),
    Case(
        "CodesAreSlow",
        "one in ten takes a minute",
        {_accepted("30"): "0+9x60", _accepted("60"): "0+10x60", _accepted("+Inf"): "0+10x60"},
        firing=ONE,
    ),
    Case(
        "CodesAreSlow",
        "all are quick",
        {_accepted("5"): "0+10x60", _accepted("30"): "0+10x60", _accepted("+Inf"): "0+10x60"},
    ),
    Case(
        "InvitationsWait",
        "one waits for half an hour",
        {_oldest("EMAIL", "invitation"): "1800x40"},
        firing=[{"kind": "invitation"}],
    ),
    Case("InvitationsWait", "one waits for ten minutes", {_oldest("EMAIL", "invitation"): "600x40"}),
    Case(
        "MailPaused",
        "e-mail is paused",
        {_m("channel_paused", channel="EMAIL", instance="a"): "0x10 1x30"},
        firing=[{"channel": "EMAIL"}],
    ),
    Case(
        "MailPaused",
        "it was, for a minute",
        {_m("channel_paused", channel="EMAIL", instance="a"): "0x10 1 0x30"},
        at="11m",
    ),
    Case(
        "AuditChainBroken",
        "one is broken",
        {_m("audit_chains_broken", instance="a"): "0x29 1x10", _m("audit_chains_broken", instance="b"): "0x29 1x10"},
        firing=ONE,
    ),
    Case("AuditChainBroken", "all hold", {_m("audit_chains_broken", instance="a"): "0x40"}),
    Case(
        "OperationsFail",
        "one in ten fails",
        {_operations("failed"): "0+1x60", _operations("answered"): "0+9x60"},
        firing=ONE,
    ),
    Case(
        "OperationsFail",
        "one in a hundred fails",
        {_operations("failed"): "0+1x60", _operations("answered"): "0+99x60"},
    ),
    Case(
        "OperationsFail",
        "many are refused",
        {_operations("refused"): "0+9x60", _operations("failed"): "0x60", _operations("answered"): "0+1x60"},
    ),
    Case(
        "MessagesDie",
        "half of them die",
        {_mails("bounced"): "0+1x60", _mails("sent"): "0+1x60"},
        at="50m",
        firing=[{"channel": "EMAIL"}],
    ),
    Case("MessagesDie", "a few of many die", {_mails("bounced"): "0+1x60", _mails("sent"): "0+50x60"}, at="50m"),
    Case(
        "MessagesDoNotArrive",
        "half of them do not",
        {_report("failed"): "0+1x60", _report("delivered"): "0+1x60"},
        at="50m",
        firing=ONE,
    ),
    Case(
        "MessagesDoNotArrive",
        "a few of many do not",
        {_report("failed"): "0+1x60", _report("delivered"): "0+9x60"},
        at="50m",
    ),
    Case(
        "RefusedByOurFault",
        "the relay refuses us",
        {_fault("sender"): "0x10 0+1x50", _fault("recipient"): "0x60"},
        at="40m",
        firing=[{"channel": "EMAIL"}],
    ),
    Case(
        "RefusedByOurFault",
        "addresses are wrong",
        {_fault("sender"): "0x60", _fault("relay"): "0x60", _fault("recipient"): "0+5x60"},
        at="40m",
    ),
    Case("ReturnsUnreadable", "ten cannot be read", {_m("unreadable_returns", instance="a"): "10x40"}, firing=ONE),
    Case("ReturnsUnreadable", "two cannot be read", {_m("unreadable_returns", instance="a"): "2x40"}),
    Case(
        "BreakerOpen",
        "a worker leaves the relay alone",
        {_breaker("closed"): "1x10 0x30", _breaker("open"): "0x10 1x30"},
        firing=[{"breaker": "mail relay"}],
    ),
    Case("BreakerOpen", "all are closed", {_breaker("closed"): "1x40", _breaker("open"): "0x40"}),
    Case(
        "BudgetNearItsEnd",
        "nine tenths are used",
        {_m("budget_used_ratio", budget="staff:day:SMS", instance="a"): "0.9x40"},
        firing=[{"budget": "staff:day:SMS"}],
    ),
    Case("BudgetNearItsEnd", "half is used", {_m("budget_used_ratio", budget="staff:day:SMS", instance="a"): "0.5x40"}),
    Case(
        "GuessingRises",
        "a hundred a minute",
        {_m("refusals_total", refusal="CredentialsIncorrect"): "0+100x60"},
        firing=ONE,
    ),
    Case(
        "GuessingRises",
        "ten a minute, and many of another kind",
        {
            _m("refusals_total", refusal="CodeIncorrect"): "0+10x60",
            _m("refusals_total", refusal="InputInvalid"): "0+500x60",
        },
    ),
    Case(
        "PracticeUnknownToInvited",
        "five people say so",
        {_m("unknown_practice_reports_total", instance="api:9464"): "0x10 0+1x5 5x30"},
        firing=ONE,
    ),
    Case(
        "PracticeUnknownToInvited",
        "one says so",
        {_m("unknown_practice_reports_total", instance="api:9464"): "0x10 1x30"},
    ),
    Case(
        "JobLate",
        "it was done an hour ago and should be each minute",
        {OLD_JOB: "0x90", JOB_INTERVAL: "60x90"},
        at="60m",
        firing=[{"task": "throw away"}],
    ),
    Case("JobLate", "it is done each minute", {OLD_JOB: "0+60x90", JOB_INTERVAL: "60x90"}, at="60m"),
    Case(
        "AuditNotVerified",
        "for three days",
        {_m("audit_verification_age_seconds", instance="a"): "259200x90"},
        at="80m",
        firing=ONE,
    ),
    Case("AuditNotVerified", "for a day", {_m("audit_verification_age_seconds", instance="a"): "86400x90"}, at="80m"),
    Case(
        "DatabasePoolFull",
        "all ten connections are in use",
        {
            _pool("database_pool_connections", state="used"): "10x40",
            _pool("database_pool_connections", state="idle"): "0x40",
            _pool("database_pool_size"): "10x40",
        },
        firing=[POOL],
    ),
    Case(
        "DatabasePoolFull",
        "half of them are",
        {
            _pool("database_pool_connections", state="used"): "5x40",
            _pool("database_pool_connections", state="idle"): "5x40",
            _pool("database_pool_size"): "10x40",
        },
    ),
    Case(
        "SendingOff",
        "one worker of two has it",
        {_m("sending", instance="a"): "0x40", _m("sending", instance="b"): "1x40"},
        firing=ONE,
    ),
    Case("SendingOff", "all send", {_m("sending", instance="a"): "1x40"}),
    Case("MessagesAwaitKey", "messages wait", {_m("deliveries_awaiting_key", instance="a"): "3x40"}, firing=ONE),
    Case(
        "MessagesAwaitKey",
        "they waited for two minutes",
        {_m("deliveries_awaiting_key", instance="a"): "0x25 3x2 0x20"},
        at="28m",
    ),
    Case(
        "ServerKeyMissing",
        "a process meets rows of a key that it lacks",
        {_m("missing_keys_total", instance="a"): "0+1x40"},
        firing=ONE,
    ),
    Case("ServerKeyMissing", "that is over", {_m("missing_keys_total", instance="a"): "0+1x5 5x40"}),
    Case(
        "PoolOverflows",
        "twenty a minute are turned away",
        {_pool("database_pool_refused_total", reason="full"): "0+20x40"},
        firing=ONE,
    ),
    Case("PoolOverflows", "one a minute is", {_pool("database_pool_refused_total", reason="late"): "0+1x40"}),
    Case(
        "BrokerAway",
        "one process gets no answer",
        {_pool("broker_answers"): "0x40", _m("broker_answers", instance="b"): "1x40"},
        firing=ONE,
    ),
    Case("BrokerAway", "it was away for a moment", {_pool("broker_answers"): "1x20 0x2 1x20"}, at="22m"),
    Case("BrokerAway", "there is no Redis", {API: "1x40"}),
    Case("RefusalsNotRecorded", "one was lost", {_m("lost_writes_total", instance="a"): "0x25 1x15"}, firing=ONE),
    Case("RefusalsNotRecorded", "none was", {_m("lost_writes_total", instance="a"): "0x40"}),
]
