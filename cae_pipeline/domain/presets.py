"""How much a training may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

PresetName: TypeAlias = Literal["quick", "normal", "thorough"]


@dataclass(frozen=True)
class Preset:
    """How much a training may cost.

    Attributes:
        synthetic_images: Images with synthetic defects that a training learns from.
        epochs: Of the autoencoder, at most.
        discriminators: Networks whose mean tells defects from normal residuals.
        discriminator_epochs: Of each, at most.
    """

    synthetic_images: int
    epochs: int
    discriminators: int
    discriminator_epochs: int


PRESETS: dict[PresetName, Preset] = {
    "quick": Preset(synthetic_images=600, epochs=20, discriminators=1, discriminator_epochs=5),
    "normal": Preset(synthetic_images=3_000, epochs=40, discriminators=2, discriminator_epochs=8),
    "thorough": Preset(synthetic_images=6_000, epochs=80, discriminators=4, discriminator_epochs=12),
}
