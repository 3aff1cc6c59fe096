"""Runs the alert rules through Prometheus's own evaluation: python -m tests.operations.alerts

It takes promtool; where that is missing, it is taken out of Debian's package prometheus, into .venv.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import alert_rules
from tests.alert_rules import Rule
from tests.operations.alert_cases import CASES, Case
from tests.processes import ROOT

FOLDER = ROOT / ".venv" / "prometheus"


def main() -> int:
    """The exit status: 0 when every rule does what its cases say."""
    promtool = _promtool()
    rules = {rule.name: rule for rule in alert_rules.rules()}
    tests = {
        "rule_files": [str(alert_rules.PATH)],
        "evaluation_interval": "30s",
        "tests": [_test(case, rules[case.alert]) for case in CASES],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "alerts.test.yml"
        path.write_text(json.dumps(tests))  # what is JSON is YAML too
        for command in (["check", "rules", str(alert_rules.PATH)], ["test", "rules", str(path)]):
            done = subprocess.run([promtool, *command], check=False)
            if done.returncode:
                return done.returncode
    sys.stdout.write(f"{len(CASES)} cases of {len(rules)} alerts hold\n")
    return 0


def _test(case: Case, rule: Rule) -> dict[str, object]:
    expected = [
        {"exp_labels": labels | {"severity": rule.severity}, "exp_annotations": rule.annotations}
        for labels in case.firing
    ]
    return {
        "name": f"{case.alert}: {case.why}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


def _promtool() -> str:
    """Where it is. Debian's package starts a server where systemd runs, which nobody asked for here: it is unpacked, and not installed."""
    own = FOLDER / "usr" / "bin" / "promtool"
    found = shutil.which("promtool") or (str(own) if own.exists() else None)
    if found is not None:
        return found
    FOLDER.mkdir(parents=True, exist_ok=True)
    if _run("apt-get", "download", "-qq", "prometheus"):
        as_root = [] if os.geteuid() == 0 else ["sudo"]
        _run(*as_root, "apt-get", "update", "-qq")
        _run("apt-get", "download", "-qq", "prometheus")
    for package in FOLDER.glob("prometheus_*.deb"):
        _run("dpkg-deb", "--extract", str(package), str(FOLDER))
        package.unlink()
    if not own.exists():
        sys.exit("promtool is missing and cannot be had from Debian: install Prometheus, and call this again")
    return str(own)


def _run(name: str, *arguments: str) -> int:
    program = shutil.which(name)
    return subprocess.run([program, *arguments], cwd=FOLDER, check=False).returncode if program is not None else 1


if __name__ == "__main__":
    sys.exit(main())
