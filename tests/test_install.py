"""`requirements/install.sh` makes .venv once, and anew when another Python is wanted. The Pythons here are scripts that only look like it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.processes import ROOT

# Answers what install.sh asks of an interpreter. An environment is a copy of the script: it has the same version, and knows where it is from.
PYTHON = """#!/bin/sh
version=VERSION
here=$0
case "$*" in
"-m venv .venv") mkdir -p .venv/bin && sed "s#^home=.*#home=$here#" "$here" >.venv/bin/python && chmod +x .venv/bin/python && echo venv >>made ;;
"-m pip install"*) echo "pip $version" >>made ;;
"-m pip --version") ;;
--version) echo "Python $version" ;;
*"version_info < (3, 11)"*) [ "$version" != 3.10 ] ;;
*"version_info < (3, 14)"*) [ "$version" = 3.14 ] ;;
*_base_executable*) home=$here; echo "${home:-$here}" ;;
*base_prefix*) echo "$version" ;;
*"import ensurepip"*) ;;
*) echo "what is $*?" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with nothing in it but what is installed, and a PATH with Python 3.10, 3.11 and 3.13 on it."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "bin").mkdir()
    for version in ("3.10", "3.11", "3.13"):
        add_python(tmp_path, version)
    return tmp_path


def add_python(project: Path, version: str) -> None:
    script = project / "bin" / f"python{version}"
    script.write_text(PYTHON.replace("VERSION", version))
    script.chmod(0o755)


def install(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (project / "made").write_text("")
    return subprocess.run(
        ["/bin/sh", "requirements/install.sh", "runtime"],
        cwd=project,
        env={"PATH": f"{project / 'bin'}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def made(project: Path, **environment: str) -> list[str]:
    """What was done."""
    done = install(project, **environment)
    assert done.returncode == 0, done.stderr
    return (project / "made").read_text().splitlines()


def test_an_environment_is_made_once_with_the_newest_python_and_anew_with_another(project: Path) -> None:
    assert made(project) == ["venv", "pip 3.13", "pip 3.13"]
    assert made(project) == []
    assert made(project, PYTHON="python3.11") == ["venv", "pip 3.11", "pip 3.11"]
    assert made(project, PYTHON="python3.11") == []
    assert made(project, PYTHON=str(project / "bin/python3.11")) == []
    assert made(project) == ["venv", "pip 3.13", "pip 3.13"]


def test_what_is_pinned_is_installed_again_when_it_changes(project: Path) -> None:
    made(project)
    with (project / "requirements/runtime.txt").open("a") as pins:
        pins.write("another==1.0\n")
    assert made(project) == ["pip 3.13", "pip 3.13"]


def test_an_environment_that_was_moved_is_made_anew(project: Path) -> None:
    made(project)
    moved = project.rename(project.with_name("moved"))
    assert made(moved) == ["venv", "pip 3.13", "pip 3.13"]


def test_a_python_that_is_too_old_or_not_there_is_refused_in_one_line(project: Path) -> None:
    for name in ("python3.10", "no-python"):
        done = install(project, PYTHON=name)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(f"practice-access: PYTHON={name} is no Python 3.11 or newer")
    assert not (project / ".venv").exists()


def test_a_python_that_the_tests_do_not_run_on_is_told(project: Path) -> None:
    add_python(project, "3.14")
    done = install(project, PYTHON="python3.14")
    assert done.returncode == 0
    assert "newer than those that the tests run on, 3.11 to 3.13" in done.stdout


def test_ci_runs_the_oldest_python_and_the_image_one_that_is_tested() -> None:
    assert 'PYTHON="${PYTHON:-python3.11}"' in (ROOT / ".ci/run").read_text()
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    images = {
        line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM python")
    }
    assert images == {"python:3.13-slim"}
    assert os.access(ROOT / ".ci/run", os.X_OK)
