"""How many bits of a 16-bit sample count, where the file says so."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS_PER_SAMPLE, MAX_SAMPLE_VALUE = 258, 281
"""Tags of a TIFF."""
FULL = 16
WHITE = 65535


def stated_white(content: bytes, values: NDArray[np.uint16], tags: Mapping[int, Any]) -> int | None:
    """Read the highest value that 16-bit samples may have, as their file states it.

    A statement that the samples themselves contradict counts for nothing.

    Args:
        content: Of the file.
        values: Its samples as written, uint16.
        tags: Of a TIFF; empty for other formats.

    Returns:
        Such as 4095 for 12 bits; None where the file does not say.
    """
    if content.startswith(b"\x89PNG"):
        return _of_png(content, values)
    bits = _first(tags.get(BITS_PER_SAMPLE))
    if bits is not None and bits < FULL:
        return int(2**bits - 1)
    highest = _first(tags.get(MAX_SAMPLE_VALUE))
    # some writers note here the highest value of this one image: only a whole number of bits is a depth
    if highest is None or not 0 < highest < WHITE or highest & (highest + 1):
        return None
    return highest if values.max(initial=0) <= highest else None


def _of_png(content: bytes, values: NDArray[np.uint16]) -> int | None:
    """Read the chunk sBIT: how many bits samples had before they were written in 16.

    A writer that keeps to the standard has scaled them to all 16 bits, which shows in their lower bits: they are zero
    or repeat the higher ones. Cameras often leave them unscaled.
    """
    bits = _significant_bits(content)
    if bits is None or not 8 <= bits < FULL:
        return None
    unused = FULL - bits
    low = values & np.uint16(2**unused - 1)
    if not low.any() or np.array_equal(low, values >> np.uint16(bits)):
        return WHITE
    return int(2**bits - 1) if values.max(initial=0) < 2**bits else None


def _significant_bits(content: bytes) -> int | None:
    at = 8
    while at + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"sBIT":
            return int(max(content[at + 8 : at + 8 + length], default=0))
        if kind in (b"IDAT", b"IEND"):
            return None
        at += 12 + length
    return None


def _first(value: Any) -> int | None:
    """The first number of a tag, which may stand alone; None where it is none."""
    number = value[0] if isinstance(value, tuple) and value else value
    return number if isinstance(number, int) else None
