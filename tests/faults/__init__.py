"""The fault matrix of docs/reliability.md: each fault is injected for real, and what is promised is looked at."""
