"""Text from programs made harmless: control characters, escapes and bidirectional overrides are shown, not sent."""

# C0 but tab, DEL, C1, and the marks that reorder or hide text in a terminal or a page.
_HARMFUL = (
    *range(0x09),
    *range(0x0A, 0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *range(0x200B, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    0xFEFF,
    0xFFFE,
    0xFFFF,
    *range(0xD800, 0xE000),
)
_SHOWN = {code: chr(code).encode("unicode_escape").decode("ascii") for code in _HARMFUL}


def clean(text: str, limit: int = 400) -> str:
    r"""`text` in one harmless line of at most `limit` characters; ESC becomes the four characters \x1b."""
    # Nothing gets shorter: what is beyond the limit need not be looked at.
    harmless = text[: limit + 1].translate(_SHOWN)
    return harmless if len(harmless) <= limit else harmless[: limit - 1] + "…"


def counted(count: int, noun: str) -> str:
    """A number and what it counts: 1 byte, 2 bytes."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
