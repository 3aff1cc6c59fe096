"""Behaviour through the API, on real databases and real servers."""
