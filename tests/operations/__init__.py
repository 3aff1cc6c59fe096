"""What takes a program of Debian's: `make test-operations` installs it. Nothing here is needed by `make test`."""
