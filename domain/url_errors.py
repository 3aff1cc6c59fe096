"""The refusal of a URL among the settings."""


class UrlInvalid(Exception):
    """A URL that cannot be meant. problem, remedy: halves of one line for the operator; neither repeats a password."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}: {remedy}")
        self.problem = problem
        self.remedy = remedy
