"""What the figures in README and docs come from. Run as `.venv/bin/python -m benchmarks.<name>`."""
