"""Text from programs made harmless: control characters, escapes and bidirectional overrides are shown, not sent."""

import re

# C0 but tab, DEL, C1, and the marks that reorder or hide text in a terminal or a page.
_HARMFUL = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)


def clean(text: str, limit: int = 400) -> str:
    r"""`text` in one harmless line of at most `limit` characters; ESC becomes the four characters \x1b."""
    harmless = _HARMFUL.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)
    return harmless if len(harmless) <= limit else harmless[: limit - 1] + "…"
