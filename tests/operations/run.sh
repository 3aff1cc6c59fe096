#!/bin/sh
# Brings the programs that are missing, as root or by sudo, and runs what needs them. Add a program, its package, and what runs it here.
set -eu
cd "$(dirname "$0")/../.."
PATH="$PATH:/usr/sbin"

missing=
has() { # program package
    command -v "$1" > /dev/null || missing="$missing $2"
}
has pgbouncer pgbouncer

if [ -n "$missing" ]; then
    echo "== Installing$missing"
    if [ "$(id -u)" = 0 ]; then as_root=; else as_root="sudo"; fi
    # shellcheck disable=SC2086 -- each word is one
    $as_root env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing" > /dev/null
fi

exec .venv/bin/python -m pytest -n 0 tests/operations "$@"
