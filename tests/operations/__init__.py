"""What takes programs of Debian's: `make test-operations` fetches them. Nothing here is needed by `make test`."""
