"""What people say of images, and what becomes of those they have judged."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

WORDS = ("defect", "normal", "unsure")
GOLDEN_SHARE = 0.3
"""Of the images judged normal: kept from training, to hold models against each other."""


@dataclass(frozen=True)
class Verdict:
    """What a person says of an image."""

    image_id: str
    verdict: str
    author: str
    created_at: datetime
    note: str = ""


class Use(StrEnum):
    """What a judged image is good for; never two of them."""

    GOLDEN = "golden"  # models are compared on it, none is trained on it
    POOL = "pool"  # a normal image to learn from
    NONE = "none"


def use_of(image_id: str, verdict: str) -> Use:
    """Say what an image is good for.

    Confirmed defects are golden. Of the images judged normal, most of them false alarms, the digest decides
    which teach and which are golden, so that it is the same for every model and for ever.

    Example:
        >>> use_of("3f" * 32, "defect").value
        'golden'
        >>> {use_of(f"{n:064x}", "normal").value for n in range(20)} == {"golden", "pool"}
        True
    """
    if verdict == "defect":
        return Use.GOLDEN
    if verdict != "normal":
        return Use.NONE
    lot = hashlib.sha256(f"golden:{image_id}".encode()).digest()[0] / 256
    return Use.GOLDEN if lot < GOLDEN_SHARE else Use.POOL
