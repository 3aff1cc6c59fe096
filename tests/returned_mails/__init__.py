"""Returned mails, made up: one short example of each form that mail systems, robots and people write."""
