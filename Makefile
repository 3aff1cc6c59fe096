# `make run` and `make test` set everything up themselves, in .venv; what is there already is not made again.
# From the environment or as arguments: PORT and DATA_DIR for the program, PYTHON to choose the interpreter (.venv is made anew when it
# is another one), PYTEST for more of pytest's arguments, T for what `make t` runs.

.DEFAULT_GOAL := help
.SILENT:
.PHONY: help run test t test-faults test-operations check lint format schema lock clean

BIN := .venv/bin

help:
	echo 'make run     everything on this machine, with a database of its own: http://localhost:8000/graphql'
	echo 'make test    every check and every test, on servers that the tests start themselves; PYTHON=python3.12 for another Python'
	echo 'make t       some tests at once, without the checks: make t T=tests/test_users.py'
	echo 'make test-faults  everything that can break, broken for real: docs/reliability.md'
	echo 'make test-operations  the alert rules by Prometheus, and everything behind PgBouncer; fetches what is missing of Debian'
	echo 'make check   the checks alone (also: make lint)'
	echo 'make format  format the code, and mend what a machine can mend'
	echo 'make schema  print schema.graphql from the code'
	echo 'make lock    pin the newest versions that requirements/*.in allow'
	echo 'make clean   remove what the others made, but not data/'

run:
	sh requirements/install.sh runtime
	exec $(BIN)/practice-access dev

test: lint
	echo '== Testing'
	STATEFUL_EXAMPLES=$${STATEFUL_EXAMPLES:-100} PRACTICE_ACCESS_TEST_STARTED_BY=$$PPID \
		exec $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal -m 'not slow_fault and not operations' $(PYTEST)

t:
	sh requirements/install.sh development
	exec $(BIN)/python -m pytest $(T) $(PYTEST)

test-faults:
	sh requirements/install.sh development
	echo '== Breaking everything that can break'
	PRACTICE_ACCESS_TEST_STARTED_BY=$$PPID \
		exec $(BIN)/python -m pytest -n auto --maxprocesses 2 --dist worksteal tests/faults $(PYTEST)

test-operations:
	sh requirements/install.sh development
	echo '== Evaluating the alert rules as Prometheus does'
	$(BIN)/python -m tests.operations.alerts
	echo '== Running it behind what operators put in front'
	PRACTICE_ACCESS_TEST_STARTED_BY=$$PPID exec sh tests/operations/run.sh $(PYTEST)

check: lint

lint:
	sh requirements/install.sh development
	echo '== Checking the code: ruff'
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	echo '== Checking the types: mypy'
	$(BIN)/mypy
	echo '== Checking who imports whom: import-linter'
	$(BIN)/lint-imports --no-logo
	echo '== Checking that schema.graphql is what the code says'
	$(BIN)/practice-access schema --check

format:
	sh requirements/install.sh development
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

schema:
	sh requirements/install.sh runtime
	$(BIN)/practice-access schema

lock:
	sh requirements/lock.sh

clean:
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
