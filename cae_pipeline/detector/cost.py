"""What a model costs: a fresh process loads it, scores a few minibatches, and measures time and memory.

    python -m cae_pipeline.detector.cost FOLDER SHA256

It is a process of its own, since what matters is what a scoring task will need, and the process that asks may have
trained just now.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from cae_pipeline.detector.artefact import load_artefact
from cae_pipeline.detector.sessions import onnx_forward
from cae_pipeline.errors import ArtefactError

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
    command = [sys.executable, "-m", "cae_pipeline.detector.cost", str(folder), sha256]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ArtefactError(f"the model in {folder} took over {TIMEOUT_SECONDS} s to judge a few images") from error
    except subprocess.CalledProcessError as error:
        raise ArtefactError(f"the model in {folder} cannot judge: {error.stderr.strip().splitlines()[-1:]}") from error
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure and print one JSON object."""
    artefact = load_artefact(Path(sys.argv[1]), sha256=sys.argv[2])
    scorer = artefact.scorer(onnx_forward(artefact.graph))
    settings, count = artefact.settings, scorer.images_per_minibatch
    images = np.random.default_rng(0).integers(0, 256, (count, *settings.read_px, settings.channels), np.uint8)
    seconds = []
    for _ in range(1 + REPEATS):  # the first one warms up
        started = time.perf_counter()
        scorer.score_few(images)
        seconds.append(time.perf_counter() - started)
    print(json.dumps(asdict(Cost(min(seconds[1:]) / count * 1000, _peak_mib()))))


def _peak_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # what the kernel counts for getrusage begins with the memory of whoever started this process
        [peak] = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(peak) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 1024


if __name__ == "__main__":
    main()
