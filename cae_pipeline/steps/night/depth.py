"""Measure a batch at the bit depth of its line, which a batch of normal images may be the first to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from cae_pipeline.adapters.decoding import Measured
from cae_pipeline.domain.batch import Delivery
from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.image_settings import ImageSettings, learnt_bit_depth, settled
from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.find import is_normal_batch

log = structlog.get_logger()


def measure_at_depth(
    line: Line, delivery: Delivery, normal: Sequence[ImageFacts], *, measure: Callable[[ImageSettings], list[Measured]]
) -> tuple[list[Measured], int | None]:
    """Measure a batch as its line's images are read.

    Where nothing is set and nothing has been learnt, a batch of normal images teaches the depth by itself, and is
    then measured again at that depth. No other batch does: a dark night is no other camera.

    Args:
        line: The product line.
        delivery: What is measured.
        normal: Facts of the line's normal images so far.
        measure: Measures all members of the delivery, read in one way.

    Returns:
        What became of each member, and the bit depth; None where nobody knows it.
    """
    images = settled(line.images, normal)
    measured = measure(images)
    if images.bit_depth is not None or not is_normal_batch(line, delivery.batch_id):
        return measured, images.bit_depth
    fresh = [result.facts for result in measured if result.facts is not None]
    learnt = learnt_bit_depth([*normal, *fresh])
    if learnt is None:
        return measured, None
    log.info("bit_depth_learnt", line=line.name, batch_id=delivery.batch_id, bit_depth=learnt)
    return (measured if learnt == FULL_DEPTH else measure(replace(images, bit_depth=learnt))), learnt


FULL_DEPTH = 16
"""What samples are read with where nobody knows better."""
