"""The alert rules of docs/alerts.yml, read without a YAML parser: the file has one form, and whatever has another is a mistake."""

import re
from dataclasses import dataclass

from tests.processes import ROOT

PATH = ROOT / "docs" / "alerts.yml"

# All that a rule file may hold here, so that nothing in it goes unread.
RULE = re.compile(
    r"      - alert: (?P<name>[A-Z]\w+)\n"
    r"        expr: '(?P<expression>[^'\n]+)'\n"
    r"        for: \d+[smh]\n"
    r"        labels:\n"
    r"          severity: (?P<severity>page|ticket)\n"
    r"        annotations:\n"
    r'          summary: "(?P<summary>[^"\n]+)"\n'
    r'          description: "(?P<description>[^"\n]+)"\n'
    r'          runbook: "(?P<runbook>[^"\n]+)"\n'
)
HEAD = re.compile(r"(#[^\n]*\n)+\ngroups:\n  - name: practice-access\n    rules:\n")


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert. severity: page or ticket. runbook: a file of this repository and an anchor in it."""

    name: str
    expression: str
    severity: str
    summary: str
    description: str
    runbook: str

    @property
    def annotations(self) -> dict[str, str]:
        """What whoever gets the alert reads."""
        return {"summary": self.summary, "description": self.description, "runbook": self.runbook}


def rules() -> list[Rule]:
    """All of them, in the file's order. Raises AssertionError for what is none."""
    text = PATH.read_text()
    head = HEAD.match(text)
    assert head is not None
    blocks = text[head.end() :].split("\n\n")
    matches = [RULE.fullmatch(block if block.endswith("\n") else f"{block}\n") for block in blocks]
    unread = [block for block, match in zip(blocks, matches, strict=True) if match is None]
    assert unread == []
    return [Rule(**match.groupdict()) for match in matches if match is not None]
