"""What a product line is told: every knob of its images, network, training, validation and threshold.

Plain frozen dataclasses; `settings.py` reads them from `lines.toml` and checks the ranges
that stand in the annotations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, MinLen

Count: TypeAlias = Annotated[int, Ge(1)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
Padding: TypeAlias = Literal["same", "valid"]

# pydantic reads this where it reads the classes; a key that nobody knows is a mistake, not a comment
_STRICT = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True)
class AutoencoderSettings:
    """The network, in Keras' words. One number means every layer, a list one number per layer."""

    __pydantic_config__: ClassVar = _STRICT

    height_px: Annotated[int, Ge(4), Le(1024)] = 64
    """Rows of the image the network sees; every image is resized to it."""
    width_px: Annotated[int, Ge(4), Le(1024)] = 64
    """Columns of the image the network sees."""
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
    """Activation of every layer but the code (linear) and the last (sigmoid)."""
    kernel_regularizer: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Strength of the L2 penalty on every kernel; 0 is none."""
    code_size: Count = 64
    """Numbers in the narrow middle."""


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is fitted to normal images."""

    __pydantic_config__: ClassVar = _STRICT

    normal_batches: Annotated[tuple[str, ...], MinLen(1)] = ("normal*",)
    """Batches (shell patterns of batch_id) whose accepted images somebody vouches for as normal.
    They train the model and are not inspected by night."""
    epochs: Count = 60
    """Passes over the training images at most; early stopping may end it sooner."""
    minibatch_size: Count = 16
    """Images per gradient step."""
    learning_rate: Annotated[float, Gt(0), Lt(1)] = 2e-3
    """Adam's step size at the start; it falls along a cosine."""
    patience: Count = 12
    """Epochs without a lower validation loss before training stops."""
    seed: Annotated[int, Ge(0)] = 0
    """Seed of the splits, the weights and the order of images."""
    validation_share: Annotated[float, Gt(0), Lt(0.5)] = 0.15
    """Share of the normal images that decides when to stop and what error is usual at each pixel."""
    calibration_share: Annotated[float, Gt(0), Lt(0.5)] = 0.2
    """Share of the normal images that only the threshold and the p-values rest on."""


@dataclass(frozen=True)
class ValidationSettings:
    """What an image and a batch must look like. What is not set is learnt from the normal images."""

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
    """Whether images that are almost the same as an earlier one are quarantined."""
    min_images: Count = 1
    """Images below which a batch is rejected as a whole."""
    max_images: Count = 100_000
    """Images above which a batch is rejected as a whole."""
    max_quarantined_share: Share = 0.5
    """Share of quarantined images above which a batch is rejected as a whole."""


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
    model: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
