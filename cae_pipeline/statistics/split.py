"""Normal images → those to train on, those to stop by, those the threshold rests on."""

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
    """Positions of the images in each part; no image is in two."""

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
    """Share images out by the digest of their id, so that the order of delivery has no say.

    Args:
        image_ids: One per image, all different.
        training: Seed and shares.
        target_false_alarm_rate: Calibration gets at least as many images as this needs.
        settled: Images whose part (train, validation, calibration) is settled: a network that has seen an image must
            not be judged by it later.

    Raises:
        TooFewNormalImagesError: If too few are left to train on.
    """
    known = settled or {}
    parts: dict[str, list[int]] = {part: [] for part in Split.__dataclass_fields__}
    for index, image_id in enumerate(image_ids):
        if image_id in known:
            parts[known[image_id]].append(index)
    order = sorted(
        (index for index in range(len(image_ids)) if image_ids[index] not in known),
        key=lambda index: _lot(training.seed, image_ids[index]),
    )
    sizes = {
        "calibration": max(
            math.ceil(training.calibration_share * len(image_ids)), min_normal_images(target_false_alarm_rate)
        ),
        "validation": max(math.ceil(training.validation_share * len(image_ids)), 2),
    }
    for part, size in sizes.items():
        missing = max(size - len(parts[part]), 0)
        parts[part] += order[:missing]
        order = order[missing:]
    parts["train"] += order
    if len(parts["train"]) < MIN_TRAINING_IMAGES:
        raise TooFewNormalImagesError(
            f"training with {sizes['calibration']} images for the threshold and {sizes['validation']} to stop by",
            received=len(image_ids),
            needed=sum(sizes.values()) + MIN_TRAINING_IMAGES,
            advice=f"Deliver more of {', '.join(training.normal_batches)}, or raise target_false_alarm_rate.",
        )
    return Split(**{part: tuple(members) for part, members in parts.items()})


def _lot(seed: int, image_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
