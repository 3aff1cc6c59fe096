"""Parsing JSON from clients and providers, with a limit on nesting.

How deep Python's own parser goes depends on its version: 3.11 stops after about 1,000 levels, 3.13 after many more. Code that handles
the value later may recurse as well, so the depth is limited before the text is parsed.
"""

import json
import re
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 64  # what clients and providers send has fewer than ten levels

# A whole string, terminated or not, so that brackets in it do not count; or a bracket. At a quotation mark the pattern always matches,
# so the scan takes linear time for any input.
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def parsed(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse a JSON text as `json.loads` does. Raises ValueError for what is not JSON, or is nested more than MAX_DEPTH levels deep.

    parse_constant: called with "NaN", "Infinity" and "-Infinity", as in `json.loads`.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    if _is_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    return json.loads(text, parse_constant=parse_constant)


def _is_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif token[0] in ("]", "}"):
            depth -= 1
    return False
