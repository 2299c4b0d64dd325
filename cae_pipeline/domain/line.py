"""What a product line is told: every knob of its images, network, training, validation and threshold.

Plain frozen dataclasses; `settings.py` reads them from `lines.toml` and checks the ranges
that stand in the annotations.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, time
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, MinLen

from cae_pipeline.domain.calendar import WEEKDAYS, Weekday
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.litter import IGNORED_FILES
from cae_pipeline.domain.presets import PRESETS, Preset, PresetName

Count: TypeAlias = Annotated[int, Ge(1)]
Position: TypeAlias = Annotated[int, Ge(0)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
Padding: TypeAlias = Literal["same", "valid"]
Head: TypeAlias = Literal["intensity", "structure", "texture", "defect"]
Diagnosis: TypeAlias = Literal["none", "camera", "product", "defects", "threshold"]
Augmentation: TypeAlias = Literal["flip_horizontal", "flip_vertical", "rotate_180"]

HEADS: tuple[Head, ...] = ("intensity", "structure", "texture", "defect")
TILE_OVERLAP = 8
"""Neighbouring tiles share one part in this many of their side."""

# pydantic reads this where it reads the classes; a key that nobody knows is a mistake, not a comment
_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True)
class AutoencoderSettings:
    """The network, in Keras' words. One number means every layer, a list one number per layer."""

    __pydantic_config__: ClassVar = _STRICT

    height_px: Annotated[int, Ge(4), Le(1024)] = 64
    """Rows of the image the network restores; every image (or tile) is resized to it."""
    width_px: Annotated[int, Ge(4), Le(1024)] = 64
    """Columns of the image the network restores."""
    channels: Literal[1, 3] = 1
    """1 for greyscale, 3 for colour."""
    filters: Annotated[tuple[Count, ...], MinLen(1)] = (16, 32, 64, 64)
    """Filters of each Conv2D of the encoder; the decoder mirrors them."""
    kernel_size: Count | tuple[Count, ...] = 3
    """Side of the square kernels in pixels."""
    strides: Count | tuple[Count, ...] = 2
    """Step of the kernels; 2 halves the image."""
    padding: Padding | tuple[Padding, ...] = "same"
    """"same" pads with zeros to ceil(size / strides); "valid" pads nothing."""
    activation: Literal["relu", "elu", "gelu", "leaky_relu", "selu", "silu", "tanh"] = "leaky_relu"
    """Activation of every layer but the latent one (linear) and the last (sigmoid)."""
    kernel_regularizer: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Strength of the L2 penalty on every kernel; 0 is none."""
    latent_size: Count = 64
    """Numbers in the latent, the narrow middle of the network."""
    feature_resolution: Annotated[int, Ge(1), Le(16)] = 4
    """How many times finer than the image of the network the grid of local features is. Images are read at
    so many times `height_px` and `width_px`."""
    tiles: tuple[Count, Count] | None = None
    """Rows and columns of overlapping tiles, each judged on its own; unset: as many as
    `smallest_defect_px` needs."""
    smallest_defect_px: Count | None = None
    """Side of the smallest defect that matters, in pixels as delivered; unset: one tile."""
    heads: Annotated[tuple[Head, ...], MinLen(1)] = HEADS
    """Error maps that the anomaly map is fused from; see docs/quality.md."""
    backbone_weights: str = ""
    """Local weights file of Keras' MobileNetV2 without top; its features then replace the learnt filters."""
    images: ImageSettings = field(default_factory=ImageSettings)
    """How a trained model reads images: settled from the line's table `images` when it is trained."""

    @property
    def pixel_type(self) -> Literal["uint8", "uint16"]:
        """Type of the pixels that the network is given."""
        return "uint16" if self.images.network_bits == 16 else "uint8"

    @property
    def reading(self) -> tuple[object, ...]:
        """What two models must have in common to judge the same pixels."""
        images = self.images
        how = (images.bit_depth, images.bayer_pattern, images.float_range)
        return (self.read_px, self.channels, self.pixel_type, *how)

    @property
    def tile_px(self) -> tuple[int, int]:
        """Rows and columns of one tile as it is read."""
        return self.height_px * self.feature_resolution, self.width_px * self.feature_resolution

    @property
    def read_px(self) -> tuple[int, int]:
        """Rows and columns every image is resized to when it is read; without tiles that of one tile."""
        down, across = self.tiles or (1, 1)
        height, width = self.tile_px
        return height + (down - 1) * (height - height // TILE_OVERLAP), width + (across - 1) * (
            width - width // TILE_OVERLAP
        )


@dataclass(frozen=True)
class AreaSettings:
    """What of the images counts. All else is ignored in training, scores, regions and pictures alike."""

    __pydantic_config__: ClassVar = _STRICT

    ignore_mask: str = ""
    """Picture, such as a PNG, of the size of the images as delivered or of the same aspect: what is not black in it is
    ignored. A relative path begins at the folder of the lines file. Changes with the next training."""
    region_of_interest: tuple[Position, Position, Count, Count] | None = None
    """Left edge, top edge, width and height of what counts, in pixels as delivered; unset: the whole image."""

    def beside(self, folder: Path) -> AreaSettings:
        """The same with the path of the mask as seen from the folder of the lines file."""
        return replace(self, ignore_mask=str(folder / Path(self.ignore_mask).expanduser()) if self.ignore_mask else "")


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is fitted to normal images."""

    __pydantic_config__: ClassVar = _STRICT

    normal_batches: Annotated[tuple[str, ...], MinLen(1)] = ("normal*",)
    """Batches (shell patterns of batch_id) whose accepted images somebody vouches for as normal.
    They train the model and are not inspected by night."""
    preset: PresetName = "normal"
    """How much a training may cost: quick for trying, normal, thorough; see docs/quality.md."""
    epochs: Count | None = None
    """Passes of the autoencoder over the images with synthetic defects at most; unset: as the preset says."""
    minibatch_size: Count = 16
    """Images per gradient step."""
    learning_rate: Annotated[float, Gt(0), Lt(1)] = 2e-3
    """Adam's step size at the start; it falls along a cosine."""
    patience: Count = 8
    """Epochs without a lower loss on held-out images with synthetic defects before training stops."""
    augmentations: tuple[Augmentation, ...] | None = None
    """Flips that are harmless on this line and multiply the training images; unset: those that the
    normal images themselves show."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the splits, the weights and the order of images."""
    validation_share: Annotated[float, Gt(0), Lt(0.5)] = 0.15
    """Share of the normal images that decides when to stop and what error is usual at each pixel."""
    calibration_share: Annotated[float, Gt(0), Lt(0.5)] = 0.2
    """Share of the normal images that only the threshold and the p-values rest on."""

    @property
    def plan(self) -> Preset:
        """The numbers of the preset, with `epochs` in place of its own where they are given."""
        plan = PRESETS[self.preset]
        return replace(plan, epochs=self.epochs) if self.epochs else plan


@dataclass(frozen=True)
class ValidationSettings:
    """What an image and a batch must look like. What is not set is learnt from the normal images.

    An image that can be decoded and has the right size is scored even where it lies out of these limits; it counts
    apart and trains no model.
    """

    __pydantic_config__: ClassVar = _STRICT

    width_px: Count | None = None
    """Columns as delivered; unset: as all normal images, if they agree."""
    height_px: Count | None = None
    """Rows as delivered; unset: as all normal images, if they agree."""
    modes: tuple[str, ...] | None = None
    """Pillow's pixel formats that may arrive, such as ["L"]; unset: those of the normal images."""
    min_brightness: Share | None = None
    """Mean grey value below which an image is too_dark."""
    max_brightness: Share | None = None
    """Mean grey value above which an image is too_bright."""
    min_contrast: Annotated[float, Ge(0), Le(0.5)] | None = None
    """Standard deviation of grey values below which an image is blank."""
    min_sharpness: Annotated[float, Ge(0)] | None = None
    """Variance of the Laplacian below which an image is blurred."""
    max_near_duplicate_bits: Annotated[int, Ge(0), Le(64)] | None = None
    """Bits of 256 in which the difference hashes of near-duplicates may differ; unset: well below
    what different normal images show; 0 with `near_duplicates = false` switched off."""
    near_duplicates: bool = True
    """Whether it is said of images that they are the same picture as one of the last week, or almost."""
    max_repeated_share: Share | None = None
    """Share of rows or columns in one run that repeats its neighbour above which an image is half_frame;
    unset: a tenth more than any normal image showed; 1 for never."""
    max_turn_gain: Annotated[float, Ge(0)] | None = None
    """By how much an image may come nearer to the line's normal images if it is turned by a quarter before it is
    rotated; unset: as normal images show, and no limit where they do not show which way up they are."""
    max_line_distance: Annotated[float, Gt(0)] | None = None
    """Distance from the line's normal images beyond which an image is unlike_line; about 1 is usual; unset: 1.25
    times what 99 of 100 held-out normal images keep within."""
    min_stuck_frames: Annotated[int, Ge(2)] = 5
    """Images in a row, by name, that are one picture from which on they are stuck_frame."""
    max_stuck_bits: Annotated[int, Ge(0), Le(64)] | None = None
    """Bits of 256 in which the difference hashes of two images of such a row may differ; unset: 24 or 10, and only
    the same pixels where normal images come in such rows."""
    ignored_files: tuple[str, ...] = IGNORED_FILES
    """Files and sub-folders of a batch that are not looked at, as shell patterns of names; capitals make no
    difference. What is ignored is counted and named in the log. Names that begin with a dot always are."""
    min_images: Count = 1
    """Images below which a batch is rejected as a whole."""
    max_images: Count = 100_000
    """Images above which a batch is rejected as a whole."""
    max_quarantined_share: Share = 0.5
    """Share of images that cannot be read or lie out of their limits, above which a batch is rejected as a whole."""


@dataclass(frozen=True)
class GateSettings:
    """What a challenger must keep to become champion."""

    __pydantic_config__: ClassVar = _STRICT

    min_synthetic_auroc: Share = 0.6
    """On synthetic defects, that even a first model must reach; 0.5 is guessing."""
    max_synthetic_loss: Share = 0.05
    """How much worse than the champion on the same synthetic defects."""
    min_golden_auroc: Share = 0.6
    """On the golden set, that even a first model must reach."""
    max_golden_loss: Share = 0.02
    """How much worse than the champion on the golden set."""
    min_golden_images: Count = 20
    """Images of each kind, defects and normal ones, from which the golden set is asked."""
    max_milliseconds_per_image: Annotated[float, Gt(0)] = 1000.0
    """On one core, from pixels to score."""
    max_memory_mib: Annotated[float, Gt(0)] = 2048.0
    """Of a process that scores."""
    approval: bool = False
    """Whether a person must agree before a challenger serves."""


@dataclass(frozen=True)
class RetrainingSettings:
    """When a training is asked for without anybody asking."""

    __pydantic_config__: ClassVar = _STRICT

    on_drift: tuple[Diagnosis, ...] = ("product", "threshold")
    """Diagnoses of a night that ask for a training; the gate still decides. A camera that moved is better put right."""
    min_verdicts: Annotated[int, Ge(0)] = 50
    """Newly judged images since the champion was registered that ask for a training; 0 for never."""
    cool_down_days: Annotated[float, Ge(0)] = 7.0
    """Days after a training before another one is asked for."""
    mode: Literal["full", "refresh"] = "refresh"
    """A full training starts afresh, a refresh from the champion's weights."""
    newest_nights: Count = 60
    """Days up to the newest night whose unflagged images a refresh may learn from and the gate may weigh;
    older ones count once a person has called them normal."""
    max_new_per_batch: Count = 50
    """Newly accepted images of one batch that a refresh may learn from."""
    review_share: Share = 0.1
    """Most anomalous share of a batch's newly accepted images that is kept back for review."""


@dataclass(frozen=True)
class Line:
    """A product or camera position with its own model."""

    __pydantic_config__: ClassVar = _STRICT

    name: Annotated[str, MinLen(1)]
    """Lower-case letters, digits and dashes; the folder under the landing zone."""
    description: str = ""
    """What a person calls it."""
    target_false_alarm_rate: Annotated[float, Gt(0), Lt(0.5)] = 0.05
    """Share of normal images that may be flagged."""
    expected_by: time | None = None
    """Time of day in `time_zone`, such as 22:00:00, by which a night's first batch should have arrived; unset: not
    missed."""
    expected_next_day: bool = False
    """`expected_by` is a time of the day after the night's date, such as 02:00:00 for a shift that ends at midnight."""
    time_zone: str = ""
    """IANA name of the line's time zone, such as Europe/Berlin; unset: that of the installation, CAE_TIME_ZONE."""
    working_days: Annotated[tuple[Weekday, ...], MinLen(1)] = WEEKDAYS
    """Days of the week on which images are expected; on others nobody is told that none have come."""
    closed_dates: tuple[date | str, ...] = ()
    """Dates without images, such as "2026-05-01", or a first and a last one, such as "2026-12-24/2027-01-01"."""
    images: ImageSettings = field(default_factory=ImageSettings)
    model: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    area: AreaSettings = field(default_factory=AreaSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    retraining: RetrainingSettings = field(default_factory=RetrainingSettings)
