"""Normal images → the training set, the validation set and the calibration set."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cae_pipeline.domain.line import TrainingSettings
from cae_pipeline.errors import TooFewNormalImagesError
from cae_pipeline.statistics.conformal import min_normal_images

MIN_TRAINING_IMAGES = 8


@dataclass(frozen=True)
class Split:
    """Positions of the images in each set; no image is in two.

    Attributes:
        train: Networks learn from these.
        validation: Training stops by these, and they say what is usual at each place.
        calibration: The threshold and the p-values rest on these, and nothing else does.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...]
    calibration: tuple[int, ...]


def split_normal(
    image_ids: Sequence[str],
    training: TrainingSettings,
    *,
    target_false_alarm_rate: float,
    settled: Mapping[str, str] | None = None,
) -> Split:
    """Share images out over the three sets, by the digest of their id: the order of delivery has no say.

    Args:
        image_ids: One per image, all different.
        training: Seed and shares.
        target_false_alarm_rate: Calibration gets at least as many images as this needs.
        settled: Images whose part (train, validation, calibration) is settled: a network that has seen an image must
            not be judged by it later.

    Raises:
        TooFewNormalImagesError: If too few are left to train on.
    """
    part_of = settled or {}
    parts: dict[str, list[int]] = {part: [] for part in Split.__dataclass_fields__}
    free: list[int] = []
    for index, image_id in enumerate(image_ids):
        (parts[part_of[image_id]] if image_id in part_of else free).append(index)
    free.sort(key=lambda index: _lot(training.seed, image_ids[index]))
    sizes = _held_out_sizes(len(image_ids), training, target_false_alarm_rate)
    for part, size in sizes.items():
        num_missing = max(size - len(parts[part]), 0)
        parts[part] += free[:num_missing]
        free = free[num_missing:]
    parts["train"] += free
    if len(parts["train"]) < MIN_TRAINING_IMAGES:
        raise TooFewNormalImagesError(
            f"training with {sizes['calibration']} images for the threshold and {sizes['validation']} to stop by",
            received=len(image_ids),
            needed=sum(sizes.values()) + MIN_TRAINING_IMAGES,
            advice=f"Deliver more of {', '.join(training.normal_batches)}, or raise target_false_alarm_rate.",
        )
    return Split(**{part: tuple(members) for part, members in parts.items()})


def _held_out_sizes(num_images: int, training: TrainingSettings, target_false_alarm_rate: float) -> dict[str, int]:
    """How many images the parts that are filled first must hold; the training set gets the rest."""
    least_for_threshold = min_normal_images(target_false_alarm_rate)
    return {
        "calibration": max(math.ceil(training.calibration_share * num_images), least_for_threshold),
        "validation": max(math.ceil(training.validation_share * num_images), 2),
    }


def _lot(seed: int, image_id: str) -> bytes:
    """The place of an image in an order that depends on the seed and on its id alone."""
    return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
