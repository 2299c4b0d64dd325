"""Judge accepted images with a model: an outcome for each, with its map and regions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain

import numpy as np
import structlog

from cae_pipeline.adapters import storage
from cae_pipeline.adapters.results import batches, images, judgements
from cae_pipeline.adapters.results.model_versions import ModelVersion, find_version
from cae_pipeline.concurrency.parallel import batched, in_order
from cae_pipeline.detector.regions import regions
from cae_pipeline.detector.scorer import ScoredImages, Scorer
from cae_pipeline.domain.outcome import AcceptedImage, Failed, FailureReason, Judgement, Outcome, Scored
from cae_pipeline.reporting import pictures
from cae_pipeline.statistics.conformal import p_values
from cae_pipeline.steps.night.load import load_model
from cae_pipeline.steps.night.read import read_image, stack
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MINIBATCHES_PER_WRITE = 8
"""Minibatches whose outcomes are written in one unit of work: 128 images without tiles."""
ROWS_AT_ONCE = 1024
"""Images that are listed in memory at once, however large the chunk."""


@dataclass(frozen=True)
class Slice:
    """Some members of a delivery by their positions in the order of names; written `key:start:stop`."""

    delivery_key: str
    start: int
    stop: int

    def __str__(self) -> str:
        """Write it as an argument of the command line."""
        return f"{self.delivery_key}:{self.start}:{self.stop}"

    @classmethod
    def parse(cls, text: str) -> Slice:
        """Read `key:start:stop`.

        Raises:
            ValueError: If it is written otherwise.
        """
        delivery_key, start, stop = text.split(":")
        return cls(delivery_key, int(start), int(stop))


@dataclass(frozen=True)
class ScoredChunk:
    """What one scoring task did."""

    line: str
    model_version: str
    num_scored: int
    num_flagged: int
    num_failed: int
    num_already_there: int


def score_slices(
    slices: Sequence[Slice], version: ModelVersion, services: Services, *, again: bool = False
) -> ScoredChunk:
    """Score the images of some slices that have no score yet.

    Args:
        slices: Which images.
        version: Who judges.
        services: The outside world.
        again: Score also what other models have scored; what this one has is left as it is.

    Raises:
        ArtefactError: If the model is not the one that was registered.
        StorageError: If the landing zone cannot be read just now; the images wait, those before it are kept.
    """
    listing = _Listing(slices, version.model_version if again else None, services)
    waiting = iter(listing)
    first = next(waiting, None)
    # nothing is loaded for a chunk that is done already
    outcomes = _judge_all(chain([first], waiting), version, listing.num_members, services) if first else iter(())
    counts = dict.fromkeys(("num_scored", "num_flagged", "num_failed"), 0)
    for minibatches in batched(outcomes, MINIBATCHES_PER_WRITE):
        made = [judgement for minibatch in minibatches for judgement in minibatch]
        with services.write() as work:
            judgements.record_judgements(work.connection, made)
            in_force = find_version(work.connection, version.model_version).threshold
            work.commit()
        scores = [one.outcome.score for one in made if isinstance(one.outcome, Scored)]
        counts["num_scored"] += len(scores)
        counts["num_flagged"] += sum(score > in_force for score in scores)
        counts["num_failed"] += len(made) - len(scores)
    finish_deliveries(sorted({part.delivery_key for part in slices}), version, services)
    result = ScoredChunk(version.line, version.model_version, **counts, num_already_there=listing.num_there)
    log.info("chunk_scored", **asdict(result))
    return result


def finish_deliveries(delivery_keys: Sequence[str], version: ModelVersion, services: Services) -> list[str]:
    """Mark the deliveries of which no image waits for a model as finished; returns those marked now."""
    with services.write() as work:
        moment = services.clock()
        finished = [
            key
            for key in delivery_keys
            if batches.finish_if_complete(work.connection, key, judged_by=version.model_version, finished_at=moment)
        ]
        work.commit()
    return finished


class _Listing:
    """The images of some slices that wait, listed from the table a part at a time, and how many were done before."""

    def __init__(self, slices: Sequence[Slice], judged_by: str | None, services: Services) -> None:
        self.slices, self.judged_by, self.services = slices, judged_by, services
        self.num_members = sum(part.stop - part.start for part in slices)
        self.num_there = 0

    def __iter__(self) -> Iterator[AcceptedImage]:
        for part in self.slices:
            for start in range(part.start, part.stop, ROWS_AT_ONCE):
                stop = min(part.stop, start + ROWS_AT_ONCE)
                with self.services.read() as connection:
                    rows = images.accepted_part(
                        connection, part.delivery_key, start=start, stop=stop, judged_by=self.judged_by
                    )
                self.num_there += sum(is_scored for _, is_scored in rows)
                yield from (image for image, is_scored in rows if not is_scored)


def _judge_all(
    waiting: Iterator[AcceptedImage], version: ModelVersion, num_members: int, services: Services
) -> Iterator[list[Judgement]]:
    """Read, judge and draw minibatches side by side on all cores, in their order."""
    judge = _Judge(load_model(version, services), version, services)
    step = judge.scorer.images_per_minibatch
    judged = in_order(judge.judge, batched(waiting, step))
    yield from services.progress(judged, total=-(-num_members // step), doing=f"score {version.line}")


@dataclass(frozen=True)
class _Judge:
    """A model at work."""

    scorer: Scorer
    version: ModelVersion
    services: Services

    def judge(self, minibatch: Sequence[AcceptedImage]) -> list[Judgement]:
        """Say what became of each image; one that fails does not touch the others."""
        read = [read_image(image, self.scorer.settings, self.services) for image in minibatch]
        good = [one.image for one in read if one.pixels is not None]
        scored = self.scorer.score_few(stack(read, self.scorer.settings))
        outcomes: dict[tuple[str, str], Outcome] = {one.image.key: one.failure for one in read if one.failure}
        outcomes |= {image.key: self._outcome(image, scored, position) for position, image in enumerate(good)}
        return [
            Judgement(
                delivery_key=image.delivery_key,
                name=image.name,
                image_id=image.image_id,
                model_version=self.version.model_version,
                outcome=outcomes[image.key],
                judged_at=self.services.clock(),
                dag_run_id=self.services.dag_run_id,
            )
            for image in minibatch
        ]

    def _outcome(self, image: AcceptedImage, scored: ScoredImages, position: int) -> Outcome:
        """Write the map and find its regions."""
        score, anomaly_map = float(scored.scores[position]), scored.maps[position]
        if not np.isfinite(score):
            told = f"the anomaly map of {self.version.model_version} holds NaN or infinity; roll back, or train again"
            return Failed(FailureReason.NOT_FINITE, told)
        threshold = self.version.threshold
        uri = self.services.map_path(image, self.version.model_version)
        # the file first: a row never points at a map that is not there
        storage.write_atomically(self.services.workspace / uri, pictures.encode_map(anomaly_map, threshold=threshold))
        delivered_px = (image.facts.height_px, image.facts.width_px)
        [p_value] = p_values(scored.scores[position : position + 1], self.scorer.normal_scores)
        return Scored(
            score=score,
            p_value=float(p_value),
            regions=regions(anomaly_map, threshold=threshold, delivered_px=delivered_px),
            map_uri=uri.as_posix(),
            map_unit=threshold,
            latent=scored.latents[position].astype("<f2").tobytes(),
        )
