"""What validating an image costs on a line with a long history, beside one without any."""

from __future__ import annotations

import json
import resource
import statistics
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cae_pipeline.domain.line import Line
from cae_pipeline.settings import Settings
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from cae_pipeline.wiring import connect
from tests.benchmarks.performance.million import LINE
from tests.benchmarks.performance.plant import run_python

NUM_IMAGES, SIDE_PX, SAMPLES = 1_000, 128, 7
MANY, NONE = "many", "none"


@dataclass(frozen=True)
class Cost:
    """Seconds for each image of a batch: of the CPU, of this process and its children; and on the clock."""

    cpu_seconds: float
    wall_seconds: float


def cost_growth(folder: Path, *, many_url: str, none_url: str, last_night: date) -> dict[str, Any]:
    """Validate batches of the same images with and without earlier ones, by turns, near-duplicates looked for.

    Args:
        folder: Not there yet, for landing zones and reports.
        many_url: Results database in which the line `mono` has a history.
        none_url: An empty results database.
        last_night: Of the history; the batches belong to the night after it.

    Returns:
        `value` and `samples`: CPU seconds for each image with earlier images as a multiple of those without, in pairs;
        `wall_value`: the same by the clock, which counts a database server too; and the seconds themselves.
    """
    folder.mkdir(parents=True)
    out = folder / "costs.json"
    told = (str(folder), many_url, none_url, str(last_night + timedelta(days=1)), str(out))
    # in a process of its own: decoding processes start anew for each batch, and import what the main program imports
    run_python(["-c", f"from {__name__} import measure; measure{told!r}"])
    costs: dict[str, list[dict[str, float]]] = json.loads(out.read_text())

    def ratios(clock: str) -> list[float]:
        return [many[clock] / none[clock] for many, none in zip(costs[MANY], costs[NONE], strict=True)]

    samples = ratios("cpu_seconds")
    return {
        "value": statistics.median(samples),
        "samples": samples,
        "wall_value": statistics.median(ratios("wall_seconds")),
        "seconds_per_image": costs,
    }


def measure(folder: str, many_url: str, none_url: str, night: str, out: str) -> None:
    """Validate by turns and write what each batch has cost; the first turn, which imports, does not count."""
    home = Path(folder)
    many, none = (
        connect(Settings(workspace=home / name, results_url=url)) for name, url in ((MANY, many_url), (NONE, none_url))
    )
    costs: dict[str, list[dict[str, float]]] = {MANY: [], NONE: []}
    for number in range(SAMPLES + 1):
        contents = jpegs(seed=number)
        # a line of its own each time: the one before it has a batch by now
        for name, line, services in ((MANY, Line(LINE), many), (NONE, Line(f"{LINE}-{number}"), none)):
            batch_id = f"{night}-{number}"
            _put(services.landing.folder / line.name / batch_id, contents)
            costs[name].append(vars(_cost(line, batch_id, services)))
    Path(out).write_text(json.dumps({name: one[1:] for name, one in costs.items()}))


def _cost(line: Line, batch_id: str, services: Services) -> Cost:
    assert line.validation.near_duplicates
    cpu, wall = _cpu_seconds(), time.perf_counter()
    validated = validate_batch(line, batch_id, services)
    cost = Cost((_cpu_seconds() - cpu) / NUM_IMAGES, (time.perf_counter() - wall) / NUM_IMAGES)
    assert validated.num_images == NUM_IMAGES
    assert validated.num_quarantined == 0, f"{validated.num_quarantined} of {NUM_IMAGES} images were quarantined"
    return cost


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _put(folder: Path, contents: list[bytes]) -> None:
    folder.mkdir(parents=True)
    for position, content in enumerate(contents):
        (folder / f"{position:06}.jpg").write_bytes(content)
    (folder / "_SUCCESS").touch()


def jpegs(*, seed: int) -> list[bytes]:
    """Draw clouds, no two alike, in grey."""
    random = np.random.default_rng(seed)
    contents = []
    for _ in range(NUM_IMAGES):
        coarse = random.uniform(40, 215, (9, 9)).astype(np.float32)
        cloud = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(cloud + random.normal(0, 4, cloud.shape), 0, 255).astype(np.uint8)
        done, encoded = cv2.imencode(".jpg", noisy)
        assert done
        contents.append(encoded.tobytes())
    return contents
