"""Which images of past nights may be taken for normal: to learn from, or to hold a promise against.

Only here is that decided. Four answers are given to four questions:

* `confirmed`: a person has called it normal.
* `newly_accepted`: what a refresh may learn from besides – confirmed, or pseudo-normal and quite usual.
* `recent_usual`: what the gate may count false alarms on – confirmed or pseudo-normal, and found usual by every model.
* `not_to_learn_from`: a person has called it a defect, or the golden set needs it.

Pseudo-normal are images that were scored, never flagged or quarantined, and that nobody has given a verdict on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import sqlalchemy as sa

from cae_pipeline.adapters.results import images, judgements, verdicts
from cae_pipeline.adapters.results.judgements import UnflaggedImage
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.domain.verdict import Use, use_of

USUAL_P_VALUE = 0.25
"""Lowest p-value of an image that may stand for recent normal ones: what hardly escaped being flagged may as well be a
defect that the champion missed, and to flag it is no fault."""


def confirmed(connection: sa.Connection, line: str) -> list[AcceptedImage]:
    """Images of a line that people have called normal and a model has scored, each picture once."""
    called_normal = [row.image for row in verdicts.reviewed_images(connection, line, "normal")]
    return [image for image in called_normal if verdicts.lowest_p_value(connection, image.image_id) is not None]


def newly_accepted(connection: sa.Connection, line: Line) -> list[AcceptedImage]:
    """What a refresh may learn from besides the champion's snapshot, of the line's newest nights."""
    policy = line.retraining
    chosen = confirmed(connection, line.name)
    for _, delivery_key in judgements.scored_nights(connection, line.name, newest=policy.newest_nights):
        names = usual_share(
            judgements.unflagged_images(connection, delivery_key),
            max_images=policy.max_new_per_batch,
            review_share=policy.review_share,
        )
        chosen += images.images_named(connection, delivery_key, names)
    return chosen


def usual_share(unflagged: Sequence[UnflaggedImage], *, max_images: int, review_share: float) -> list[str]:
    """Choose what of one batch a refresh learns from.

    The share with the lowest p-values is kept back for review, and of the others at most so many are taken, by the lot
    of their digests: one bad night cannot outvote the rest.

    Returns:
        Their names.
    """
    usual_first = sorted(unflagged, key=lambda image: (-image.p_value, image.image_id))
    usual = usual_first[: len(unflagged) - math.ceil(review_share * len(unflagged))]
    drawn = sorted(usual, key=lambda image: hashlib.sha256(image.image_id.encode()).digest())
    return [image.name for image in drawn[:max_images]]


def recent_usual(
    connection: sa.Connection, line: Line, *, unseen_by: AbstractSet[str], limit: int
) -> list[AcceptedImage]:
    """Recent images that every model so far found usual, the newest nights first.

    Args:
        connection: To the results database.
        line: The product line.
        unseen_by: Digests of images that played a part in a training, which are left out.
        limit: At most so many.
    """
    chosen = {
        image.image_id: image
        for image in confirmed(connection, line.name)
        if (verdicts.lowest_p_value(connection, image.image_id) or 0) >= USUAL_P_VALUE
        and image.image_id not in unseen_by
    }
    for _, delivery_key in judgements.scored_nights(connection, line.name, newest=line.retraining.newest_nights):
        if len(chosen) >= limit:
            break
        usual = [
            image.name
            for image in judgements.unflagged_images(connection, delivery_key)
            if image.p_value >= USUAL_P_VALUE and image.image_id not in unseen_by
        ]
        some = images.images_named(connection, delivery_key, usual[: limit - len(chosen)])
        chosen |= {image.image_id: image for image in some}
    return list(chosen.values())[:limit]


def not_to_learn_from(connection: sa.Connection, line: str) -> set[str]:
    """Digests of images that no model may be trained on, because of what people have said of them."""
    reviewed = verdicts.reviewed_images(connection, line, "defect", "normal")
    return {row.image.image_id for row in reviewed if use_of(row.image.image_id, row.verdict) is not Use.POOL}


def golden_set(connection: sa.Connection, line: str, *, unseen_by: AbstractSet[str]) -> dict[str, list[AcceptedImage]]:
    """Images that no model is trained on, by the verdict on them: `normal` and `defect`."""
    golden: dict[str, list[AcceptedImage]] = {"normal": [], "defect": []}
    for row in verdicts.reviewed_images(connection, line, "defect", "normal"):
        is_golden = use_of(row.image.image_id, row.verdict) is Use.GOLDEN
        if is_golden and row.image.image_id not in unseen_by:
            golden[row.verdict].append(row.image)
    return golden
