"""The `practice-access` command."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cli import audit, bounced_addresses, bounces, deliveries, keys, money_guard, operator, users
from cli.embedded_postgres import PostgresFailed
from domain import settings as settings_module
from domain.settings import SettingInvalid, Settings
from domain.upgrade_errors import UpgradeBlocked, UpgradeFailed


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status. A wrong setting is told in one line."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "schema":
            return _schema(Path(options.path), check=options.check)
        settings = settings_module.load(settings_module.environment())
        return _run(options, settings)
    except (SettingInvalid, PostgresFailed) as error:
        print(f"practice-access: {error}", file=sys.stderr)
        return int(getattr(options, "status_of_a_wrong_setting", 2))
    except (UpgradeBlocked, UpgradeFailed) as error:  # no setting is wrong
        print(f"practice-access: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="practice-access", description="Staff access for medical practices.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "dev", help="everything in one process, with a database of its own where DATABASE_URL is not set"
    )
    commands.add_parser("api", help="one API process")
    worker = commands.add_parser("worker", help="delivery workers (REDIS_URL has to be set)")
    worker.add_argument("--processes", type=int, default=1, help="how many worker processes (1)")
    commands.add_parser("migrate", help="bring the database's schema up to date")
    commands.add_parser("doctor", help="try each configured part for real, one line each")
    audit.add_parser(commands)
    bounces.add_parser(commands)
    bounced_addresses.add_parser(commands)
    settings = commands.add_parser("login-settings", help="a practice's login settings")
    reset = settings.add_subparsers(dest="act", required=True).add_parser(
        "reset", help="take allowed hours and networks away, for a practice whose administrators are locked out"
    )
    reset.add_argument("--practice", required=True, help="the practice's id")
    schema = commands.add_parser("schema", help="print the GraphQL schema into a file")
    schema.add_argument("path", nargs="?", default="schema.graphql", help="the file (schema.graphql)")
    schema.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file differs")
    operator.add_commands(commands)
    money_guard.add_commands(commands)
    deliveries.add_command(commands)
    keys.add_command(commands)
    users.add_command(commands)
    return parser


def _schema(path: Path, *, check: bool) -> int:
    from graph.schema import printed  # noqa: PLC0415 -- the other commands need not wait for it

    text = printed()
    if not check:
        path.write_text(text)
        return 0
    if path.is_file() and path.read_text() == text:
        return 0
    print(f"practice-access: {path} is not what the code prints; run `practice-access schema`", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace, settings: Settings) -> int:
    from cli import login_settings  # noqa: PLC0415 -- imported only once the settings are known to be good, like all below
    from domain import logs  # noqa: PLC0415

    logs.configure(settings)
    commands: dict[str, Callable[[], Coroutine[Any, Any, int]]] = {
        "bounced-address": lambda: operator.run(options, settings),
        "bounces": lambda: bounces.run(options, settings),
        "audit": lambda: audit.run(options, settings),
        "login-settings": lambda: login_settings.reset(settings, options.practice),
        **dict.fromkeys(operator.COMMANDS, lambda: operator.run(options, settings)),
    }
    if options.command in commands:
        return asyncio.run(commands[options.command]())
    return _run_part(options, settings)


def _run_part(options: argparse.Namespace, settings: Settings) -> int:
    """A part of the running product. Importing all of it takes twice as long as an operator's command does."""
    from cli import doctor, serve, workers  # noqa: PLC0415
    from cli.listener import sockets  # noqa: PLC0415
    from workers import lookups  # noqa: PLC0415

    if options.command == "worker":
        return workers.run_worker(settings, options.processes)
    commands: dict[str, Callable[[], Coroutine[Any, Any, int]]] = {
        "dev": lambda: serve.dev(settings),
        "api": lambda: serve.api(settings),
        "migrate": lambda: serve.migrate(settings),
        "doctor": lambda: doctor.run(settings),
    }
    # The servers run on the faster loop; a command that ends at once has nothing to gain by it.
    kind = sockets.loop_type() if options.command in {"dev", "api"} else asyncio.SelectorEventLoop
    with asyncio.Runner(loop_factory=partial(lookups.event_loop, kind)) as runner:
        return runner.run(commands[options.command]())


if __name__ == "__main__":
    sys.exit(main())
