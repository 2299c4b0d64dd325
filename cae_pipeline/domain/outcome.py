"""What became of an image: accepted or quarantined when it arrived, scored or failed when a model judged it.

An image itself is only ever accepted or quarantined. Whether a model could judge it is a property of the image and of
that model: another model, or the same one after a repair, may well be able to.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import TypeAlias

from cae_pipeline.domain.facts import ImageFacts


class ImageStatus(StrEnum):
    """Whether an image may be scored and trained on."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"


class Reason(StrEnum):
    """Why an image is quarantined, or what is odd about an accepted one."""

    MISSING = "missing"  # named in the manifest, not there
    CHANGED = "changed"  # not the bytes the manifest names
    TOO_LARGE = "too_large"  # more bytes or pixels than we decode
    NOT_AN_IMAGE = "not_an_image"  # no image format we accept
    TRUNCATED = "truncated"  # begins as an image and stops early
    UNREADABLE = "unreadable"  # an image format, broken inside
    DECODE_TIMEOUT = "decode_timeout"  # decoding took longer than allowed
    DECODER_CRASHED = "decoder_crashed"  # decoding ended its process
    MULTIPLE_FRAMES = "multiple_frames"  # an animation or several pages
    WRONG_SIZE = "wrong_size"
    WRONG_MODE = "wrong_mode"
    UNUSED_RANGE = "unused_range"  # a 16-bit file that holds fewer bits, and nobody has said how many
    BEYOND_RANGE = "beyond_range"  # values above those that the bit depth holds
    BLANK = "blank"  # hardly any contrast
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    BLURRED = "blurred"
    HALF_FRAME = "half_frame"  # a part of the frame repeats one row or column
    ROTATED = "rotated"  # turned by a quarter it would look like the line
    UNLIKE_LINE = "unlike_line"  # another product, or another view of it
    DUPLICATE = "duplicate"  # the same bytes came before
    STUCK_FRAME = "stuck_frame"  # the same picture again and again
    NEAR_DUPLICATE = "near_duplicate"  # almost the same picture came before
    BATCH_REJECTED = "batch_rejected"  # nothing wrong with it but its batch

    @property
    def hides(self) -> bool:
        """Whether an image is kept from scoring: nothing can be decoded, or its shape is another, or it came before."""
        return self not in ODD

    @property
    def speaks_against_batch(self) -> bool:
        """Whether many such images let a batch be rejected; the same picture twice is no fault of the camera."""
        return self not in (Reason.DUPLICATE, Reason.NEAR_DUPLICATE)

    @property
    def is_out_of_limits(self) -> bool:
        """Whether an image is scored all the same, but counts apart and trains no model."""
        return self in OUT_OF_LIMITS


OUT_OF_LIMITS = frozenset(
    {
        Reason.WRONG_MODE,
        Reason.UNUSED_RANGE,
        Reason.BEYOND_RANGE,
        Reason.BLANK,
        Reason.TOO_DARK,
        Reason.TOO_BRIGHT,
        Reason.BLURRED,
        Reason.HALF_FRAME,
        Reason.ROTATED,
        Reason.STUCK_FRAME,
    }
)
"""A fact of the image lies outside its limits: more likely a fault of the camera than of the product."""
UNUSUAL = OUT_OF_LIMITS | {Reason.UNLIKE_LINE}
"""An image with one of these trains no model. A large defect can make an image unlike its line, so that this one counts
as any other."""
ODD = UNUSUAL | {Reason.NEAR_DUPLICATE}
"""What is said of an image that is accepted all the same: validation never hides a product."""


class FailureReason(StrEnum):
    """Why a model could not judge an accepted image; a fault that may pass by itself is none of these."""

    CHANGED = "changed"  # not the bytes that were validated
    MISSING = "missing"  # its batch is there, the file is not
    UNREADABLE = "unreadable"  # it could be decoded once and cannot be now
    NOT_FINITE = "not_finite"  # the model's answer is NaN or infinite


@dataclass(frozen=True)
class ValidatedImage:
    """What is known of one member of a batch after validation.

    Attributes:
        name: Of the file within its batch.
        image_id: SHA-256 of its bytes; empty if the file is missing.
        num_bytes: Size of the file.
        status: Whether it may be scored.
        reason: Why it is quarantined, or what is odd about it; None if there is nothing to say.
        detail: What was seen and what was wanted, for people.
        facts: What was measured; None if it could not be decoded.
        duplicate_of: The image_id of an earlier image that it repeats, or almost; None if it repeats none.
    """

    name: str
    image_id: str
    num_bytes: int
    status: ImageStatus
    reason: Reason | None = None
    detail: str = ""
    facts: ImageFacts | None = None
    duplicate_of: str | None = None


@dataclass(frozen=True)
class AcceptedImage:
    """An image that may be scored and trained on, and where it lies.

    Attributes:
        line: The product line.
        batch_id: Folder in the landing zone.
        delivery_key: The delivery it came with.
        name: Of the file within its batch.
        image_id: SHA-256 of the bytes that were validated.
        facts: What was measured then.
    """

    line: str
    batch_id: str
    delivery_key: str
    name: str
    image_id: str
    facts: ImageFacts

    @property
    def key(self) -> tuple[str, str]:
        """What names this image in every table: its delivery and its name there."""
        return self.delivery_key, self.name


@dataclass(frozen=True)
class Region:
    """One connected place of an image that is not normal, in pixels of the image as delivered.

    Attributes:
        x_px: Left edge of its box.
        y_px: Upper edge of its box.
        width_px: Columns of its box.
        height_px: Rows of its box.
        area_px: Pixels within the box that belong to it.
        peak: Its highest value in the anomaly map, in units of the score.
    """

    x_px: int
    y_px: int
    width_px: int
    height_px: int
    area_px: int
    peak: float


@dataclass(frozen=True)
class Scored:
    """A model has judged the image.

    Attributes:
        score: Highest value of the anomaly map, finite, ≥ 0.
        p_value: Share of calibration images that score at least as high, in (0, 1].
        regions: Places above the threshold that was in force then, worst first; none if there were none.
        map_uri: File of the anomaly map, relative to the workspace.
        map_unit: The score that 1.0 in that file stands for, > 0.
        latent: Narrow middle of the autoencoder, little-endian float16; None in rows of early versions.
    """

    score: float
    p_value: float
    regions: tuple[Region, ...]
    map_uri: str
    map_unit: float
    latent: bytes | None = None


@dataclass(frozen=True)
class Failed:
    """A model could not judge the image, and trying again would not help.

    Attributes:
        reason: Which kind of failure.
        detail: What was seen and what was wanted, for people.
    """

    reason: FailureReason
    detail: str


Outcome: TypeAlias = Scored | Failed


@dataclass(frozen=True)
class Judgement:
    """What one model version says of one image.

    Attributes:
        delivery_key: The delivery the image came with.
        name: Of the file within its batch.
        image_id: SHA-256 of its bytes.
        model_version: Who judged.
        outcome: What came of it.
        judged_at: When, aware and in UTC.
        dag_run_id: Airflow's run it was judged in; empty if a person asked for it.
    """

    delivery_key: str
    name: str
    image_id: str
    model_version: str
    outcome: Outcome
    judged_at: datetime
    dag_run_id: str = ""


@dataclass(frozen=True)
class ScoredImage:
    """A scored image as it was judged last, where it lies, and what it is held against.

    Attributes:
        line: The product line.
        batch_id: Folder in the landing zone.
        night: Of its batch.
        name: Of the file within its batch.
        image_id: SHA-256 of its bytes.
        score: Finite, ≥ 0.
        p_value: In (0, 1].
        threshold: Of the model version, in force now.
        model_version: Who judged.
        regions: Places above the threshold, worst first.
        map_uri: File of the anomaly map, relative to the workspace.
        map_unit: The score that 1.0 in that file stands for.
        width_px: Columns as delivered.
        height_px: Rows as delivered.
        judged_at: When, aware and in UTC.
        reason: What is odd about it besides; empty if there is nothing to say.
    """

    line: str
    batch_id: str
    night: date
    name: str
    image_id: str
    score: float
    p_value: float
    threshold: float
    model_version: str
    regions: tuple[Region, ...]
    map_uri: str
    map_unit: float
    width_px: int
    height_px: int
    judged_at: datetime
    reason: str = ""

    @property
    def is_anomalous(self) -> bool:
        """Whether it is flagged by the threshold in force."""
        return self.score > self.threshold
