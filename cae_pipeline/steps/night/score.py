"""Judge accepted images with a model and write scores, maps and regions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import structlog

from cae_pipeline.adapters import storage
from cae_pipeline.adapters.results import batches, ledger, scored
from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.concurrency.parallel import batched, in_order
from cae_pipeline.detector.regions import regions
from cae_pipeline.detector.scorer import ScoredImages, Scorer
from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import Line
from cae_pipeline.reporting import pictures
from cae_pipeline.statistics.conformal import Scores, p_values
from cae_pipeline.steps.night.find import is_normal_batch
from cae_pipeline.steps.night.load import load_model
from cae_pipeline.steps.night.read import ReadImage, read_image, stack
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

PARTS_PER_WRITE = 8
"""Minibatches whose rows are written in one transaction: 128 images without tiles."""
ROWS_AT_ONCE = 1024
"""Rows of images that are in memory at once, however large the chunk."""


@dataclass(frozen=True)
class Slice:
    """Some members of a batch by their positions in the order of names; written `key:start:stop`."""

    batch_key: str
    start: int
    stop: int

    def __str__(self) -> str:
        """Write it as an argument of the command line."""
        return f"{self.batch_key}:{self.start}:{self.stop}"

    @classmethod
    def parse(cls, text: str) -> Slice:
        """Read `key:start:stop`.

        Raises:
            ValueError: If it is written otherwise.
        """
        batch_key, start, stop = text.split(":")
        return cls(batch_key, int(start), int(stop))


@dataclass(frozen=True)
class ScoredChunk:
    """What one scoring task did."""

    line: str
    model_version: str
    num_scored: int
    num_flagged: int
    num_failed: int
    num_already_there: int


@dataclass(frozen=True)
class _JudgedPart:
    """Rows of scores, and `(batch_key, name, problem)` of what could not be scored."""

    rows: list[dict[str, Any]]
    failures: list[tuple[str, str, str]]


def score_slices(slices: Sequence[Slice], version: ModelVersion, services: Services) -> ScoredChunk:
    """Score the images of some slices; those the model has judged already are left as they are.

    Raises:
        ArtefactError: If the model is not the one that was registered.
    """
    queue = _Queue(slices, version, services)
    rows = iter(queue)
    first = next(rows, None)
    # nothing is loaded for a chunk that is done already
    flagged, failed = _score(chain([first], rows), queue, services) if first else (0, 0)
    for batch_key in sorted({part.batch_key for part in slices}):
        batches.finish_if_complete(services.engine, batch_key, finished_at=services.clock())
    result = ScoredChunk(
        line=version.line,
        model_version=version.model_version,
        num_scored=queue.num_waiting - failed,
        num_flagged=flagged,
        num_failed=failed,
        num_already_there=queue.num_there,
    )
    log.info("chunk_scored", **asdict(result))
    return result


class _Queue:
    """The images of some slices that wait, read from the table a part at a time, and how many there were."""

    def __init__(self, slices: Sequence[Slice], version: ModelVersion, services: Services) -> None:
        self.slices, self.version, self.services = slices, version, services
        self.num_members = sum(part.stop - part.start for part in slices)
        self.num_waiting = self.num_there = 0

    def __iter__(self) -> Iterator[Any]:
        for part in self.slices:
            for start in range(part.start, part.stop, ROWS_AT_ONCE):
                rows = image_rows.accepted_images(
                    self.services.engine,
                    [part.batch_key],
                    part=(start, min(part.stop, start + ROWS_AT_ONCE)),
                    judged_by=self.version.model_version,
                )
                waiting = [row for row in rows if not row["is_judged"]]
                self.num_there += len(rows) - len(waiting)
                self.num_waiting += len(waiting)
                yield from waiting


def _score(rows: Iterator[Any], queue: _Queue, services: Services) -> tuple[int, int]:
    version = queue.version
    scorer = load_model(version, services)
    step = scorer.images_per_minibatch
    judged = in_order(lambda part: _judge(part, scorer, version, services), batched(rows, step))
    total = -(-queue.num_members // step)
    flagged = failed = 0
    for some in batched(services.progress(judged, total=total, doing=f"score {version.line}"), PARTS_PER_WRITE):
        new = [row for part in some for row in part.rows]
        bad = [failure for part in some for failure in part.failures]
        flagged += scored.record_scores(services.engine, new)
        image_rows.fail_images(services.engine, bad)
        failed += len(bad)
    return flagged, failed


def _judge(part: Sequence[Any], scorer: Scorer, version: ModelVersion, services: Services) -> _JudgedPart:
    """Read, judge and draw a minibatch; everything but the rows of the results table."""
    read = [read_image(row, scorer.settings, services) for row in part]
    good = [image for image in read if image.pixels is not None]
    failures = [(image.row["batch_key"], image.row["name"], image.problem) for image in read if image.pixels is None]
    judged = scorer.score_few(stack(good, scorer.settings))
    is_finite = np.isfinite(judged.scores)
    problem = f"the score is not finite: {version.model_version} does not know this image"
    failures += [
        (image.row["batch_key"], image.row["name"], problem)
        for image, finite in zip(good, is_finite, strict=True)
        if not finite
    ]
    chances = p_values(judged.scores, scorer.normal_scores)
    rows = [
        {**_drawn(image, version, services, anomaly_map=judged.maps[i]), **_measured(judged, chances, i)}
        for i, image in enumerate(good)
        if is_finite[i]
    ]
    return _JudgedPart(rows, failures)


def _measured(judged: ScoredImages, chances: Scores, position: int) -> dict[str, Any]:
    return {
        "score": float(judged.scores[position]),
        "p_value": float(chances[position]),
        "code": judged.latents[position].astype("<f2").tobytes(),
    }


def _drawn(image: ReadImage, version: ModelVersion, services: Services, *, anomaly_map: Floats) -> dict[str, Any]:
    """Write the map, find its regions, and say by whom and when it was made."""
    known = image.row
    uri = services.map_path(version.line, known["batch_key"], known["image_id"], version.model_version)
    encoded = pictures.encode_map(anomaly_map, threshold=version.threshold)
    # the file first: a row never points at a map that is not there
    storage.write_atomically(services.workspace / uri, encoded)
    places = regions(anomaly_map, threshold=version.threshold, delivered_px=(known["height_px"], known["width_px"]))
    return {
        "batch_key": known["batch_key"],
        "image_id": known["image_id"],
        "model_version": version.model_version,
        "name": known["name"],
        "threshold_id": version.threshold_id,
        "regions": [asdict(region) for region in places],
        "map_uri": str(uri),
        "run_id": version.run_id,
        "dag_run_id": services.dag_run_id,
        "scored_at": services.clock(),
    }


def plan_chunks(batch_keys: Iterable[str], *, chunk_size: int, services: Services) -> list[list[Slice]]:
    """Share the members of some batches out over scoring tasks.

    A batch without an image that waits is finished here.
    """
    chunks: list[list[Slice]] = []
    room = 0
    for batch_key in batch_keys:
        if batches.finish_if_complete(services.engine, batch_key, finished_at=services.clock()):
            continue
        count = image_rows.count_members(services.engine, batch_key)
        start = 0
        while start < count:
            if room == 0:
                chunks.append([])
                room = chunk_size
            stop = min(count, start + room)
            chunks[-1].append(Slice(batch_key, start, stop))
            room -= stop - start
            start = stop
    return chunks


def plan_line(line: Line, *, chunk_size: int, services: Services) -> tuple[ModelVersion, list[list[Slice]]]:
    """Plan what the champion has to judge: every validated batch of the line but those that train.

    Raises:
        NoChampionError: If nobody may judge; the images wait.
    """
    champion = ledger.champion_of(services.engine, line.name)
    unfinished = batches.unfinished_batches(services.engine, line.name)
    waiting = [row["batch_key"] for row in unfinished if not is_normal_batch(line, row["batch_id"])]
    return champion, plan_chunks(waiting, chunk_size=chunk_size, services=services)
