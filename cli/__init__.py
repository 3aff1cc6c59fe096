"""The `practice-access` command: the one place that puts the API, the workers and the embedded servers together."""
