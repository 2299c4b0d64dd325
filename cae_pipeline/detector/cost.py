"""What a model costs: a fresh process loads it, scores a few minibatches, and measures time and memory.

    python -m cae_pipeline.detector.cost FOLDER SHA256

It is a process of its own, since what matters is what a scoring task will need, and the process that asks may have
trained just now.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cae_pipeline.concurrency.fresh_process import run_module
from cae_pipeline.concurrency.memory import peak_memory_bytes
from cae_pipeline.detector.artefact import load_artefact
from cae_pipeline.detector.sessions import onnx_forward
from cae_pipeline.domain.images import white_of
from cae_pipeline.errors import ArtefactError, ProcessFailedError

REPEATS = 3
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Cost:
    """What it costs to score one image on one core, and how much memory the process that does it needs."""

    milliseconds_per_image: float
    peak_mib: float


def measure_cost(folder: Path, *, sha256: str) -> Cost:
    """Measure a model in a fresh process.

    Raises:
        ArtefactError: If it cannot be loaded or does not end.
    """
    try:
        cost = run_module(__name__, str(folder), sha256, timeout_seconds=TIMEOUT_SECONDS)
    except ProcessFailedError as error:
        raise ArtefactError(f"the model in {folder} cannot judge a few images: the process {error.ending}") from error
    return Cost(**cost)


def main() -> None:
    """Measure and print one JSON object."""
    artefact = load_artefact(Path(sys.argv[1]), sha256=sys.argv[2])
    scorer = artefact.scorer(onnx_forward(artefact.graph))
    settings, count = artefact.settings, scorer.images_per_minibatch
    kind = np.dtype(settings.pixel_type)
    images = np.random.default_rng(0).integers(
        0, white_of(kind) + 1, (count, *settings.read_px, settings.channels), kind
    )
    seconds = []
    for _ in range(1 + REPEATS):  # the first one warms up
        started = time.perf_counter()
        scorer.score_few(images)
        seconds.append(time.perf_counter() - started)
    print(json.dumps(asdict(Cost(min(seconds[1:]) / count * 1000, peak_memory_bytes() / 2**20))))


if __name__ == "__main__":
    main()
