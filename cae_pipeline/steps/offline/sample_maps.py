"""Pictures of what an evaluation found: the images that score highest, with their anomaly maps over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cae_pipeline.adapters.decoding import DecodeLimits, decode
from cae_pipeline.domain.images import Floats
from cae_pipeline.reporting.pictures import overlay
from cae_pipeline.steps.outputs import write_output

NUM_SAMPLES = 8
"""Of each defect type, and of the normal images."""


def write_sample_maps(
    folder: Path, judged: Sequence[tuple[Path, str, float, Floats]], *, threshold: float, limits: DecodeLimits
) -> list[str]:
    """Write the anomaly maps of the highest scores over their images, a PNG each.

    Args:
        folder: Where to; made if it is not there.
        judged: `(image, defect type, score, anomaly map)`.
        threshold: What is drawn as the middle of the colours.
        limits: What one file may cost.

    Returns:
        The files, each named `<defect type>-<rank>-<name of the image>.png`.

    Raises:
        ConfigurationError: If the folder cannot be written.
    """
    written = []
    for kind in sorted({row[1] for row in judged}):
        highest = sorted((row for row in judged if row[1] == kind), key=lambda row: -row[2])[:NUM_SAMPLES]
        for rank, (path, _, _, anomaly_map) in enumerate(highest, start=1):
            picture = overlay(decode(path.read_bytes(), limits)[0], anomaly_map / threshold)
            encoded = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))[1]
            target = folder / f"{kind}-{rank}-{path.stem}.png"
            write_output(target, encoded.tobytes())
            written.append(str(target))
    return written
