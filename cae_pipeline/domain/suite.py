"""The suite: what is expected of the images of a batch, and of the batch as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.domain.outcome import Reason

DECODED = "decoded"
"""What the column `decoding` holds of an image that has facts; else it holds the reason why it has none."""
LINE_DISTANCE, TURN_GAIN, FRAMES_IN_A_ROW = "line_distance", "turn_gain", "frames_in_a_row"
"""Columns that are worked out of the facts, held against the line's normal images or against the image before."""
NUM_IMAGES, FAULTY_SHARE = "number of images", "share of images unreadable or out of limits"
"""What is counted of a batch as a whole."""


@dataclass(frozen=True)
class ImageExpectation:
    """What one column of the table of facts must hold in every image that has it.

    Exactly one of the limits is set: a lowest and a highest number (one of them may be missing), the allowed texts,
    or that the column is empty.

    Attributes:
        reason: What is said of an image that fails; None where the column itself holds the reason.
    """

    column: str
    reason: Reason | None
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] | None = None
    is_empty: bool = False

    @property
    def is_limit(self) -> bool:
        """Whether anything is expected at all."""
        return self.is_empty or not (self.low is None and self.high is None and self.allowed is None)

    @property
    def wanted(self) -> str:
        """The limit in words, such as "at least 0.1"."""
        if self.allowed is not None:
            return " or ".join(self.allowed)
        return "none" if self.is_empty else _span(self.low, self.high)


@dataclass(frozen=True)
class BatchExpectation:
    """What a batch as a whole must be; `subject` says in words what is counted."""

    subject: str
    low: float | None = None
    high: float | None = None

    @property
    def wanted(self) -> str:
        """The limit in words, such as "at most 0.5"."""
        return _span(self.low, self.high)


def image_expectations(limits: FactLimits) -> tuple[ImageExpectation, ...]:
    """List what is expected of images; the first one that an image fails is its reason. A limit of None is left out."""
    expectations = (
        ImageExpectation("decoding", None, allowed=(DECODED,)),
        ImageExpectation("width_px", Reason.WRONG_SIZE, low=limits.width_px, high=limits.width_px),
        ImageExpectation("height_px", Reason.WRONG_SIZE, low=limits.height_px, high=limits.height_px),
        ImageExpectation("mode", Reason.WRONG_MODE, allowed=limits.modes),
        # first: what is read at the wrong depth is dark and blank besides
        ImageExpectation("used_bits", Reason.UNUSED_RANGE, low=limits.min_used_bits),
        ImageExpectation("used_bits", Reason.BEYOND_RANGE, high=limits.max_used_bits),
        ImageExpectation("brightness", Reason.TOO_DARK, low=limits.min_brightness),
        ImageExpectation("brightness", Reason.TOO_BRIGHT, high=limits.max_brightness),
        ImageExpectation("contrast", Reason.BLANK, low=limits.min_contrast),
        ImageExpectation("repeated_share", Reason.HALF_FRAME, high=limits.max_repeated_share),
        ImageExpectation("sharpness", Reason.BLURRED, low=limits.min_sharpness),
        ImageExpectation(TURN_GAIN, Reason.ROTATED, high=limits.max_turn_gain),
        ImageExpectation(LINE_DISTANCE, Reason.UNLIKE_LINE, high=limits.max_line_distance),
        ImageExpectation("duplicate_of", Reason.DUPLICATE, is_empty=True),
        ImageExpectation(FRAMES_IN_A_ROW, Reason.STUCK_FRAME, high=limits.max_frames_in_a_row),
        ImageExpectation("near_duplicate_of", Reason.NEAR_DUPLICATE, is_empty=limits.near_duplicates),
    )
    return tuple(expectation for expectation in expectations if expectation.is_limit)


def batch_expectations(settings: ValidationSettings) -> tuple[BatchExpectation, ...]:
    """List what is expected of a batch as a whole; failing one rejects it."""
    return (
        BatchExpectation(NUM_IMAGES, low=settings.min_images, high=settings.max_images),
        BatchExpectation(FAULTY_SHARE, high=settings.max_quarantined_share),
    )


def shown(value: float | str | None) -> str:
    """Write a value for people: whole numbers in full, others with four digits, nothing as "none".

    Example:
        >>> shown(100000.0), shown(0.123456), shown(None)
        ('100000', '0.1235', 'none')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def _span(low: float | None, high: float | None) -> str:
    if low is not None and low == high:
        return shown(low)
    limits = (("at least", low), ("at most", high))
    return " and ".join(f"{word} {shown(limit)}" for word, limit in limits if limit is not None)
