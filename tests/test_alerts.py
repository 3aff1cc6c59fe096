"""The alert rules and the dashboard speak of what the product shows, and the table of the metrics is all of it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli import main
from domain import scraping
from tests import alert_rules
from tests.operations.alert_cases import CASES
from tests.processes import ROOT
from tests.test_metrics import exposing
from tests.world import World
from workers import housekeeping, observing

DOCS = ROOT / "docs"

SELECTOR = re.compile(r"\b((?:practice_access|process)_\w+|up)\b(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
BY = re.compile(r"\b(?:by|ignoring) ?\(([^)]*)\)")
FROM_PROMETHEUS = {"le", "instance", "job"}
# What Prometheus itself tells of its targets, by the jobs that docs/operating.md has it read.
JOBS = {"practice-access-api", "practice-access-worker"}
COMMAND = re.compile(r"`practice-access ([^`]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Exported:
    """What one process shows: the values of each label of each series, and the type of each family."""

    labels: dict[str, dict[str, set[str]]]
    families: dict[str, str]


async def _exported(world: World) -> Exported:
    async def budgets() -> dict[str, float]:
        return {"codes": 0.5}

    for job in housekeeping.JOBS:
        observing.announce(job.name, job.every_seconds)
    scraping.watch_budgets(budgets)

    async def broker() -> None:
        """It answers."""

    scraping.watch_broker(broker)
    scraping.watch_breakers(lambda: {"lane 0": "closed"})
    scraping.note_sending(True)
    try:
        async with exposing() as site:
            await world.api.post("{ viewer { id } }")
            text = (await site.read()).text
    finally:
        scraping.watch_budgets(None)
        scraping.watch_breakers(None)
        scraping.watch_broker(None)
        scraping.note_sending(None)
    labels: dict[str, dict[str, set[str]]] = {}
    families: dict[str, str] = {}
    for family in text_string_to_metric_families(text):
        families[family.name] = family.type
        for sample in family.samples:
            found = labels.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                found.setdefault(name, set()).add(value)
    return Exported(labels, families)


def rules() -> dict[str, str]:
    """The expressions of docs/alerts.yml by the alerts' names."""
    return {rule.name: rule.expression for rule in alert_rules.rules()}


def anchors(text: str) -> list[str]:
    """What a link can lead to in a page of Markdown, as GitHub makes it of the headings."""
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)]


def panels() -> dict[str, list[str]]:
    """The expressions of docs/grafana-dashboard.json by the panels' titles."""
    board: dict[str, Any] = json.loads((DOCS / "grafana-dashboard.json").read_text())
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in board["panels"]}


def mistakes(expression: str, exported: Exported) -> Iterator[str]:
    """What an expression names that there is not."""
    selectors = SELECTOR.findall(expression)
    if not selectors:
        yield "it names no metric"
    exported.labels["up"] = {"job": JOBS, "instance": set()}
    known: set[str] = set(FROM_PROMETHEUS)
    for name, matchers in selectors:
        known |= exported.labels.get(name, {}).keys()
        yield from _mistakes_of(name, matchers, exported)
    named = {label for listed in BY.findall(expression) for label in re.split(r",\s*", listed)}
    yield from (f"there is no label {label}" for label in named - known)
    for opening, closing in ("()", "{}", "[]"):
        if expression.count(opening) != expression.count(closing):
            yield f"{opening} and {closing} do not match"


def _mistakes_of(name: str, matchers: str, exported: Exported) -> Iterator[str]:
    if name not in exported.labels:
        yield f"{name} is not exported"
        return
    if name == "up" and "job=" not in matchers:
        yield "up is of every job that Prometheus reads, and not of ours alone"
    for label, _, value in MATCHER.findall(matchers):
        missing = set(value.split("|")) - exported.labels[name].get(label, set())
        if missing:
            yield f"{name} has no {label} {missing}"


async def test_every_alert_is_about_something_that_is_exported(world: World) -> None:
    exported, found = await _exported(world), rules()
    assert len(found) >= 10
    assert {name: wrong for name, one in found.items() if (wrong := list(mistakes(one, exported)))} == {}


def test_every_alert_is_shown_to_fire_and_not_to_fire_and_no_case_is_of_another() -> None:
    fires = {case.alert for case in CASES if case.firing}
    is_quiet = {case.alert for case in CASES if not case.firing}
    assert fires == is_quiet == rules().keys()
    assert len({(case.alert, case.why) for case in CASES}) == len(CASES)


def test_every_alert_names_a_section_of_the_runbook_that_is_about_it() -> None:
    found = anchors((DOCS / "operating.md").read_text())
    assert {rule.name: rule.runbook for rule in alert_rules.rules()} == {
        name: f"docs/operating.md#{name.lower()}" for name in rules()
    }
    assert {name: found.count(name.lower()) for name in rules()} == dict.fromkeys(rules(), 1)


def test_what_an_alert_tells_somebody_to_run_is_a_command_that_there_is() -> None:
    told = [(rule.name, command) for rule in alert_rules.rules() for command in COMMAND.findall(rule.description)]
    assert len(told) >= 4
    for name, command in told:
        assert main._parser().parse_args(command.split()).command == command.split()[0], name


async def test_every_panel_shows_something_that_is_exported(world: World) -> None:
    exported, found = await _exported(world), panels()
    assert len(found) >= 12
    wrong = {title: [*mistakes(one, exported)] for title, several in found.items() for one in several}
    assert {title: some for title, some in wrong.items() if some} == {}


async def test_everything_that_is_exported_is_shown_or_warned_of_and_told_in_the_manual(world: World) -> None:
    exported = await _exported(world)
    ours = {name for name in exported.families if name.startswith("practice_access_")}
    expressions = [*rules().values(), *(one for several in panels().values() for one in several)]
    written = {name for one in expressions for name, _ in SELECTOR.findall(one)}
    assert {name for name in ours if not any(one.startswith(name) for one in written)} == set()
    manual = (DOCS / "operating.md").read_text()
    told = set(re.findall(r"^\| `(practice_access_\w+)`", manual, re.MULTILINE))
    kinds = {"counter": "_total", "info": "_info"}
    assert told == {name + kinds.get(exported.families[name], "") for name in ours} - {
        "practice_access_build_info_info"
    }


@pytest.mark.parametrize(
    "expression",
    [
        "practice_access_deliveries_lost_total > 0",
        'practice_access_deliveries_total{outcome="lost"} > 0',
        "sum by (practice) (practice_access_deliveries_total) > 0",
        "up == 0",
        'up{job="practice-access"} == 0',
        "sum(practice_access_deliveries_total",
    ],
)
async def test_a_rule_about_nothing_would_be_noticed(world: World, expression: str) -> None:
    assert list(mistakes(expression, await _exported(world))) != []
