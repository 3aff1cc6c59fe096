"""Applied in the order of their numbers by `practice-access migrate`, under an advisory lock."""
