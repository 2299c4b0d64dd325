"""What an image must measure: as configured, else as the line's normal images look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.likeness import likeness_limits
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.domain.repeats import UNTAUGHT_STUCK_BITS, near_duplicate_bits, stuck_bits

T = TypeVar("T")

MIN_NORMAL_IMAGES = 20
"""Fewer normal images than this teach nothing about what is usual."""
BLANK_CONTRAST = 0.01
"""Where nothing is learnt yet: about 2.5 grey values of 255."""
BLACK, WHITE = 0.02, 0.98
"""Where nothing is learnt yet: mean grey values nothing can be seen at."""
MIN_BRIGHTNESS_MARGIN = 0.15
"""How far outside the span of the normal images a mean grey value may lie at least."""
SHARPNESS_MARGIN = 0.7
"""Share of the sharpness of the softest normal images below which an image is out of focus."""
MIN_USED_BITS = 15
"""Of 16, where nobody has said how many count: cameras have up to 14."""
REPEATED_MARGIN = 0.1
"""How much more of a frame than in any normal image may repeat one row or column."""


@dataclass(frozen=True)
class FactLimits:
    """The limits one batch is validated against; `None` is no limit.

    Attributes:
        max_near_duplicate_bits: Of hashes; None: only pictures with equal pixels are near-duplicates.
        near_duplicates: Whether near-duplicates are looked for at all.
        max_stuck_bits: Of hashes of neighbours in a row; None: only equal pixels make a row.
        max_frames_in_a_row: Images in a row that may be one picture.
        is_learnt: Whether there were enough normal images to learn from.
    """

    width_px: int | None
    height_px: int | None
    modes: tuple[str, ...] | None
    min_brightness: float
    max_brightness: float
    min_contrast: float
    min_sharpness: float
    max_near_duplicate_bits: int | None
    near_duplicates: bool = True
    max_repeated_share: float | None = None
    max_turn_gain: float | None = None
    max_line_distance: float | None = None
    max_stuck_bits: int | None = None
    max_frames_in_a_row: int | None = None
    is_learnt: bool = False
    min_used_bits: int | None = None
    max_used_bits: int | None = None


def limits_for(
    settings: ValidationSettings, normal: Sequence[ImageFacts], *, bit_depth: int | None = None
) -> FactLimits:
    """Take each limit from the line's settings, else from its normal images, else from common sense.

    A learnt limit of brightness lies one whole span of the normal images (their 0.5 % to 99.5 %
    quantile) outside that span, or 0.15, the others well below what any normal image showed: they are meant
    for a broken camera or lamp, never for a product that looks odd, which is for the model to find.

    Args:
        settings: The line's own limits; unset ones are learnt.
        normal: Facts of images known to be normal; fewer than 20 teach nothing.
        bit_depth: Bits that count in 16-bit files which do not say it; None if nobody knows, so that a file that leaves
            bits unused may be one of fewer bits.
    """
    learnt = _learn(normal, settings.min_stuck_frames) if len(normal) >= MIN_NORMAL_IMAGES else _UNTAUGHT
    return FactLimits(
        width_px=_first(settings.width_px, learnt.width_px),
        height_px=_first(settings.height_px, learnt.height_px),
        modes=_first(settings.modes, learnt.modes),
        min_brightness=_first(settings.min_brightness, learnt.min_brightness),
        max_brightness=_first(settings.max_brightness, learnt.max_brightness),
        min_contrast=_first(settings.min_contrast, learnt.min_contrast),
        min_sharpness=_first(settings.min_sharpness, learnt.min_sharpness),
        max_near_duplicate_bits=_first(settings.max_near_duplicate_bits, learnt.max_near_duplicate_bits)
        if settings.near_duplicates
        else None,
        near_duplicates=settings.near_duplicates,
        max_repeated_share=_first(settings.max_repeated_share, learnt.max_repeated_share),
        max_turn_gain=_first(settings.max_turn_gain, learnt.max_turn_gain),
        max_line_distance=_first(settings.max_line_distance, learnt.max_line_distance),
        max_stuck_bits=_first(settings.max_stuck_bits, learnt.max_stuck_bits),
        max_frames_in_a_row=settings.min_stuck_frames - 1,
        is_learnt=learnt is not _UNTAUGHT,
        min_used_bits=MIN_USED_BITS if bit_depth is None else None,
        max_used_bits=bit_depth,
    )


_UNTAUGHT = FactLimits(None, None, None, BLACK, WHITE, BLANK_CONTRAST, 0.0, None, max_stuck_bits=UNTAUGHT_STUCK_BITS)


def _learn(normal: Sequence[ImageFacts], min_stuck_frames: int) -> FactLimits:
    brightness = np.array([facts.brightness for facts in normal])
    contrast = np.array([facts.contrast for facts in normal])
    sharpness = np.array([facts.sharpness for facts in normal])
    low, high = np.quantile(brightness, [0.005, 0.995])
    # lamps age: a line with a steady light must not have its whole night quarantined for that
    margin = max(float(high - low), MIN_BRIGHTNESS_MARGIN)
    likeness = likeness_limits(normal)
    repeated = [facts.repeated_share for facts in normal if facts.repeated_share is not None]
    return FactLimits(
        width_px=_agreed([facts.width_px for facts in normal]),
        height_px=_agreed([facts.height_px for facts in normal]),
        modes=tuple(sorted({facts.mode for facts in normal})),
        # ten grey values, so that a covered lens is too dark for any line but one of dark products
        min_brightness=max(float(low) - margin, min(2 * BLACK, float(brightness.min()) / 2)),
        max_brightness=min(float(high) + margin, WHITE),
        min_contrast=min(BLANK_CONTRAST, float(contrast.min()) / 2),
        min_sharpness=SHARPNESS_MARGIN * float(np.quantile(sharpness, 0.005)),
        max_near_duplicate_bits=near_duplicate_bits(normal),
        max_repeated_share=min(1.0, max(repeated) + REPEATED_MARGIN) if repeated else None,
        max_turn_gain=likeness.max_turn_gain if likeness else None,
        max_line_distance=likeness.max_distance if likeness else None,
        max_stuck_bits=stuck_bits(normal, min_frames=min_stuck_frames),
    )


def _agreed(values: Sequence[int]) -> int | None:
    return values[0] if len(set(values)) == 1 else None


def _first(configured: T | None, learnt: T) -> T:
    return learnt if configured is None else configured
