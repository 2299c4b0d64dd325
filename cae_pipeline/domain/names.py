r"""Names of files as people and tables can hold them, and how to find the file again.

A file's name is any bytes but `/` and NUL. A name in the tables is text of at most 255 characters, in Unicode's
composed form (NFC), with `/` between folders. What is no text or would break a line stands as `\xNN`, one for each
byte, and so does the backslash itself: the name can be read back.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

MAX_LENGTH = 255
"""Characters of a name in the tables."""
_TURNS_TEXT = "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# control characters, the backslash, what ends a line or turns its direction, and what stands for bytes that are no text
_UNREADABLE = re.compile(f"[\x00-\x1f\x7f-\x9f\\\\{_TURNS_TEXT}\ud800-\udfff]")
_NO_TEXT = re.compile("[\ud800-\udfff]")
_BEYOND_ASCII = re.compile(r"[^\x20-\x5b\x5d-\x7e]")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
_KEPT_AT_THE_END = 20
"""Characters of a name that is too long, such as `_0017.png`, by which people know a file."""


def readable(name: str, *, exactly: bool = False) -> str:
    r"""Write the name of a file, as Python gives it, so that it can be shown and kept.

    Args:
        name: From `os.fsdecode`: bytes that are no UTF-8 are lone surrogates.
        exactly: Escape everything beyond ASCII, which tells two names apart that look the same.

    Example:
        >>> readable("st\udcfcck.png")
        'st\\xfcck.png'
        >>> readable("a\nb.png")
        'a\\x0ab.png'
    """
    unreadable = _BEYOND_ASCII if exactly else _UNREADABLE
    return unicodedata.normalize("NFC", unreadable.sub(lambda found: _escape(found[0]), name))


def as_on_disk(name: str) -> str:
    r"""Undo `readable`, but for the normal form.

    Example:
        >>> as_on_disk("st\\xfcck.png") == "st\udcfcck.png"
        True
    """
    if "\\x" not in name:
        return name
    content = name.encode("utf-8", "surrogateescape")
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), content))


def as_typed(name: str) -> str:
    r"""Take a name that somebody typed for the one in the tables: only bytes that are no text are spelt out.

    Example:
        >>> as_typed("st\udcfcck.png") == as_typed("st\\xfcck.png") == "st\\xfcck.png"
        True
    """
    return unicodedata.normalize("NFC", _NO_TEXT.sub(lambda found: _escape(found[0]), name))


def shortened(name: str) -> str:
    """Cut a name that is longer than the tables hold; a digest of the whole name keeps it apart from others.

    Example:
        >>> len(shortened("a" * 300 + ".png")), shortened("a" * 300 + ".png")[-4:]
        (255, '.png')
    """
    if len(name) <= MAX_LENGTH:
        return name
    mark = f"~{hashlib.sha256(name.encode()).hexdigest()[:12]}~"
    return name[: MAX_LENGTH - _KEPT_AT_THE_END - len(mark)] + mark + name[-_KEPT_AT_THE_END:]


def _escape(letter: str) -> str:
    code = ord(letter)
    # surrogateescape gives each byte that is no text as U+DC80 … U+DCFF
    content = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else letter.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in content)
