"""What takes programs of Debian's that `make test` does without: `make test-operations` runs it (run.sh)."""
