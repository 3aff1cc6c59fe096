"""The table in docs/reliability.md tells the truth: each row names tests that there are, and that say that they show it."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.processes import ROOT

ROW = re.compile(r"^\| (F\d+) \|(.*)\|$", re.MULTILINE)
TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")


def rows() -> dict[str, list[tuple[str, str]]]:
    """The tests that each row names."""
    found = ROW.findall((ROOT / "docs" / "reliability.md").read_text())
    return {row: TEST.findall(rest) for row, rest in found}


@cache
def marked(path: str) -> dict[str, set[str]]:
    """The rows that each test of a file is marked with."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found[node.name] = {
                str(one.args[0].value)
                for one in node.decorator_list
                if isinstance(one, ast.Call)
                and ast.unparse(one.func) == "pytest.mark.fault"
                and isinstance(one.args[0], ast.Constant)
            }
    return found


def test_each_fault_has_a_row_that_names_tests_that_show_it() -> None:
    table = rows()
    assert len(table) >= 46
    assert list(table) == [f"F{number}" for number in range(1, len(table) + 1)]
    for row, tests in table.items():
        assert tests, f"{row} names no test"
        for path, name in tests:
            assert row in marked(path).get(name, set()), f"{row}: {path}::{name} is not there, or not marked with it"


def test_each_test_that_shows_a_fault_stands_in_the_table() -> None:
    table = rows()
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        path = file.relative_to(ROOT).as_posix()
        for name, shown in marked(path).items():
            for row in shown:
                assert (path, name) in table[row], f"{row}: {path}::{name}"


def test_what_the_table_names_is_a_file_of_the_project() -> None:
    assert all(Path(ROOT / path).is_file() for tests in rows().values() for path, _ in tests)
