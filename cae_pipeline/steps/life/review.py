"""What people are asked and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa

from cae_pipeline.adapters.results import images, ledger, verdicts
from cae_pipeline.adapters.results.batches import delivery_in_force
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.adapters.results.queries import flagged
from cae_pipeline.adapters.results.queries.flagged import LatentRow, times_from
from cae_pipeline.adapters.results.queries.images import find_image_id
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import ScoredImage
from cae_pipeline.domain.verdict import WORDS, Verdict
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.statistics.active_learning import choose_k_centers
from cae_pipeline.steps.services import Services

NEW_KIND_EVERY = 3
"""Every third image of the queue is of a new kind, the others are the nearest to the threshold."""
MAX_LATENTS = 2000
"""Flagged images, of the newest nights, that are compared with each other to find new kinds."""


@dataclass(frozen=True)
class QueuedImage:
    """An image whose verdict would teach much, and why: near_threshold or new_kind."""

    image: ScoredImage
    why: str

    def as_row(self) -> dict[str, Any]:
        """Flatten it for a table or JSON."""
        near = times_from(self.image.score, self.image.threshold)
        return {**asdict(self.image), "times_from_threshold": near, "why": self.why}


@dataclass(frozen=True)
class Release:
    """What was asked to be released from quarantine, and how many were released now."""

    line: str
    batch_id: str
    released: int
    asked: int


def say_verdict(image_id: str, word: str, services: Services, *, note: str = "") -> str:
    """Append a person's verdict on an image; returns its full id.

    Raises:
        ConfigurationError: If the word is no verdict.
        NotFoundError: If no batch ever held that image.
    """
    if word not in WORDS:
        raise ConfigurationError(f"the verdict is {word!r}; expected one of {', '.join(WORDS)}")
    with services.write() as work:
        full = find_image_id(work.connection, image_id)
        verdicts.append(work.connection, [Verdict(full, word, services.author, services.clock(), note)])
        work.commit()
    return full


def release_images(line: str, batch_id: str, names: Sequence[str], services: Services, *, note: str = "") -> Release:
    """Let quarantined images of a batch be scored after all; that they were quarantined stays on record.

    Args:
        line: The product line.
        batch_id: The batch; its delivery in force is meant.
        names: Of the images; none means all that can be decoded.
        services: The outside world.
        note: Why.

    Raises:
        NotFoundError: If there is no such batch, or an image is not quarantined in it.
        CaeError: If an image could never be decoded.
    """
    with services.write() as work:
        delivery = delivery_in_force(work.connection, line, batch_id)
        chosen = list(names) or images.releasable(work.connection, delivery.delivery_key)
        count = images.release(work.connection, delivery.delivery_key, chosen, services.stamp(note))
        work.commit()
    return Release(line, batch_id, count, len(chosen))


def review_queue(line: Line, services: Services, *, count: int) -> list[QueuedImage]:
    """List the images without a verdict whose verdict would teach most, as the champion judged them.

    Two of three are those nearest to the threshold, where a verdict decides most; every third is of a kind that
    nobody has judged yet.

    Raises:
        NoChampionError: If the line has no champion.
    """
    with services.read() as connection:
        champion = ledger.champion_of(connection, line.name)
        # twice as many: what is nearest may be delivered twice
        nearest = _by_picture(flagged.nearest_to_threshold(connection, champion, limit=2 * count))
        kinds = _by_picture(_new_kinds(connection, champion, count=count))
    return _interleaved(nearest, kinds, count=count)


def count_unreviewed(line: Line, services: Services) -> int:
    """How many images without a verdict the champion has judged, counted up to some thousands.

    Raises:
        NoChampionError: If the line has no champion.
    """
    with services.read() as connection:
        return flagged.count_unreviewed(connection, ledger.champion_of(connection, line.name))


def _by_picture(rows: Sequence[ScoredImage]) -> list[ScoredImage]:
    """Keep each picture once, where it stands first."""
    found: dict[str, ScoredImage] = {}
    for row in rows:
        found.setdefault(row.image_id, row)
    return list(found.values())


def _interleaved(nearest: Sequence[ScoredImage], kinds: Sequence[ScoredImage], *, count: int) -> list[QueuedImage]:
    """Take two of the nearest, then one of a new kind, each picture once; when one list ends, go on with the other."""
    queue: dict[str, QueuedImage] = {}
    lists = {"near_threshold": list(nearest), "new_kind": list(kinds)}
    while len(queue) < count and any(lists.values()):
        turn = "new_kind" if len(queue) % NEW_KIND_EVERY == NEW_KIND_EVERY - 1 else "near_threshold"
        why = turn if lists[turn] else ("near_threshold" if turn == "new_kind" else "new_kind")
        row = lists[why].pop(0)
        queue.setdefault(row.image_id, QueuedImage(row, why))
    return list(queue.values())


def _new_kinds(connection: sa.Connection, champion: ModelVersion, *, count: int) -> list[ScoredImage]:
    """Flagged images least like each other and like those that people have judged, by their latents."""
    waiting = flagged.flagged_latents(connection, champion, limit=MAX_LATENTS)
    if not waiting:
        return []
    reviewed = flagged.reviewed_latents(connection, champion, limit=MAX_LATENTS)
    latents = _as_array(waiting)
    seen = _as_array(reviewed) if reviewed else latents[:0]
    chosen = [waiting[position].image_id for position in choose_k_centers(latents, seen, count=count)]
    rows = {row.image_id: row for row in flagged.scored_images(connection, champion, chosen)}
    return [rows[image_id] for image_id in chosen if image_id in rows]


def _as_array(rows: Sequence[LatentRow]) -> np.ndarray:
    return np.stack([np.frombuffer(row.latent, "<f2").astype(np.float32) for row in rows])
