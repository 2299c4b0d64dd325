"""How the pixels of a line's files are read: as somebody has set it, else as the line's normal images show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Le

from cae_pipeline.domain.facts import EIGHT_BITS, ImageFacts

BayerPattern: TypeAlias = Literal["rggb", "bggr", "grbg", "gbrg"]

MIN_NORMAL_IMAGES = 20
"""Fewer normal images than this teach no bit depth."""
SENSOR_BITS = (8, 10, 12, 14, 16)
"""Bits per sample of the cameras there are."""


@dataclass(frozen=True)
class ImageSettings:
    """How the samples of a file become grey values, where the file itself does not say it."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    bit_depth: Annotated[int, Ge(8), Le(16)] | None = None
    """Bits per sample that count in 16-bit files which do not say it, such as 12; unset: as many as the
    line's normal images use."""
    bayer_pattern: BayerPattern | None = None
    """Colours of the upper left four pixels, row by row, of grey images that are to become colour; unset: none."""
    float_range: tuple[float, float] | None = None
    """Floating-point values that are black and white, such as [0.0, 1.0]; unset: such files are quarantined."""
    network_bits: Literal[8, 16] | None = None
    """Bits per sample that the network is given; unset: 16 where a normal image has more than 8."""


def settled(settings: ImageSettings, normal: Sequence[ImageFacts]) -> ImageSettings:
    """Fill in what is not set from the normal images of a line.

    Args:
        settings: As somebody has set them.
        normal: Facts of normal images; fewer than 20 with 16 bits teach no bit depth.

    Returns:
        The settings with `network_bits` given, and `bit_depth` where it is set or could be learnt.
    """
    is_deep = settings.float_range is not None or any(_is_deep(facts) for facts in normal)
    return replace(
        settings,
        bit_depth=settings.bit_depth or learnt_bit_depth(normal),
        network_bits=settings.network_bits or (16 if is_deep else 8),
    )


def _is_deep(facts: ImageFacts) -> bool:
    # images that were measured by an earlier version have no bit depth; Pillow's modes of more than 8 bits begin so
    return facts.mode.startswith("I") if facts.bit_depth is None else facts.bit_depth > EIGHT_BITS


def learnt_bit_depth(normal: Sequence[ImageFacts]) -> int | None:
    """Take the smallest bit depth of a camera that holds every value of the normal images.

    The rule looks at all of them together: a single dark image uses fewer bits than its camera has.

    Returns:
        Bits from 8 to 16; None if fewer than 20 normal images are of 16 bits and do not state their depth.
    """
    used = [facts.used_bits for facts in normal if facts.used_bits is not None]
    if len(used) < MIN_NORMAL_IMAGES:
        return None
    return next(bits for bits in SENSOR_BITS if bits >= max(used))
