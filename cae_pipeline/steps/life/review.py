"""What people are asked and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np

from cae_pipeline.adapters.results import ledger, queries, verdicts
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.verdict import WORDS, Verdict
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.statistics.active_learning import choose_k_centers
from cae_pipeline.steps.services import Services

NEW_KIND_SHARE = 3
"""Every third image of the queue is of a new kind, the others are the nearest to the threshold."""


def say_verdict(image_id: str, word: str, services: Services, *, note: str = "") -> str:
    """Append a person's verdict on an image; returns its full id.

    Raises:
        ConfigurationError: If the word is no verdict.
        NotFoundError: If no batch ever held that image.
    """
    if word not in WORDS:
        raise ConfigurationError(f"the verdict is {word!r}; expected one of {', '.join(WORDS)}")
    full: str = queries.show_image(services.engine, image_id)["image_id"]
    said = Verdict(full, word, services.author, services.clock(), note)
    verdicts.record_verdicts(services.engine, [said])
    return full


def review_queue(line: Line, services: Services, *, count: int) -> list[dict[str, Any]]:
    """List the most informative images without a verdict, as the champion judged them.

    Two of three are those nearest to the threshold, where a verdict decides most; every third is of a kind that
    nobody has judged yet.

    Returns:
        Rows with `why`: near_threshold or new_kind.

    Raises:
        NoChampionError: If the line has no champion.
    """
    champion = ledger.champion_of(services.engine, line.name)
    kinds = _new_kinds(champion.model_version, services, count=count)
    asked = (services.engine, line.name, champion.model_version)
    # twice as many: what is nearest may be delivered twice
    nearest = verdicts.unjudged_scores(*asked, limit=2 * count)
    by_id = {
        row["image_id"]: row for row in (*nearest, *verdicts.unjudged_scores(*asked, limit=2 * count, among=kinds))
    }
    kinds = [image_id for image_id in kinds if image_id in by_id]
    queue: dict[str, dict[str, Any]] = {}
    near = iter(by_id)
    while len(queue) < min(count, len(by_id)):
        if kinds and len(queue) % NEW_KIND_SHARE == NEW_KIND_SHARE - 1:
            image_id, why = kinds.pop(0), "new_kind"
        else:
            image_id, why = next(near), "near_threshold"
        queue.setdefault(image_id, {**by_id[image_id], "why": why})
    return list(queue.values())


def _new_kinds(model_version: str, services: Services, *, count: int) -> list[str]:
    waiting = verdicts.codes_of(services.engine, model_version, judged=False)
    known = verdicts.codes_of(services.engine, model_version, judged=True)
    if not waiting:
        return []
    latents, seen = (
        [np.frombuffer(row["code"], "<f2").astype(np.float32) for row in rows] for rows in (waiting, known)
    )
    stacked = np.stack(latents)
    chosen = choose_k_centers(stacked, np.stack(seen) if seen else stacked[:0], count=count)
    return [waiting[position]["image_id"] for position in chosen]
