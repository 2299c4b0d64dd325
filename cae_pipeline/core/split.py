"""Normal images → those to train on, those to stop by, those the threshold rests on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cae_pipeline.core.line import TrainingSettings
from cae_pipeline.core.threshold import min_normal_images
from cae_pipeline.errors import TooFewNormalImagesError

MIN_TRAINING_IMAGES = 8


@dataclass(frozen=True)
class Split:
    """Positions of the images in each part; no image is in two."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    calibration: tuple[int, ...]


def split_normal(image_ids: Sequence[str], training: TrainingSettings, *, target_false_alarm_rate: float) -> Split:
    """Share images out by the digest of their id, so that the order of delivery has no say.

    Args:
        image_ids: One per image, all different.
        training: Seed and shares.
        target_false_alarm_rate: Calibration gets at least as many images as this needs.

    Raises:
        TooFewNormalImagesError: If too few are left to train on.
    """
    count = len(image_ids)
    order = sorted(range(count), key=lambda index: _lot(training.seed, image_ids[index]))
    num_calibration = max(math.ceil(training.calibration_share * count), min_normal_images(target_false_alarm_rate))
    num_validation = max(math.ceil(training.validation_share * count), 2)
    if count - num_calibration - num_validation < MIN_TRAINING_IMAGES:
        raise TooFewNormalImagesError(
            f"training with {num_calibration} images for the threshold and {num_validation} to stop by",
            received=count,
            needed=num_calibration + num_validation + MIN_TRAINING_IMAGES,
            advice=f"Deliver more of {', '.join(training.normal_batches)}, or raise target_false_alarm_rate.",
        )
    return Split(
        train=tuple(order[num_calibration + num_validation :]),
        validation=tuple(order[num_calibration : num_calibration + num_validation]),
        calibration=tuple(order[:num_calibration]),
    )


def _lot(seed: int, image_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
