#!/bin/sh
# Pin the newest versions that requirements/*.in allow, with hashes, for every platform at once.
# Plain pip reads the result; it names no index and no folder.
set -eu
cd "$(dirname "$0")/.."
sh requirements/install.sh runtime
uv=.venv/uv/bin/uv
[ -x "$uv" ] || .venv/bin/python -m pip install --quiet --target .venv/uv uv

compile() {
    name=$1
    shift
    "$uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command 'make lock' "$@" "requirements/$name.in" --output-file "requirements/$name.txt"
    printf '== requirements/%s.txt\n' "$name"
}

compile runtime
compile development --constraints requirements/runtime.txt
compile redis-server
