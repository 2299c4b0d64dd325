"""The normal images that one training sees."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
import structlog

from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results import pool, verdicts
from cae_pipeline.adapters.results.models import ModelVersion
from cae_pipeline.detector.tiling import with_tiles
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Line
from cae_pipeline.domain.verdict import Use, use_of
from cae_pipeline.errors import ArtefactError, TooFewNormalImagesError
from cae_pipeline.steps.night.find import is_normal_batch
from cae_pipeline.steps.night.read import read_images, stack
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class Snapshot:
    """The images one training sees, and the network's knobs with the tiles those images need.

    Attributes:
        settled: Which part the images of the champion's snapshot played, by digest; they keep it in a refresh.
    """

    rows: tuple[sa.RowMapping, ...]
    pixels: Pixels
    model: AutoencoderSettings
    sha256: str
    settled: Mapping[str, str]

    @property
    def image_ids(self) -> list[str]:
        """Digests of the images, in their order."""
        return [row["image_id"] for row in self.rows]


def take_snapshot(line: Line, services: Services, *, refresh_of: ModelVersion | None = None) -> Snapshot:
    """Validate the line's normal batches where that has not been done, and read what a training sees.

    A full training sees the images somebody vouches for and false alarms; a refresh sees what the champion was
    trained on, newly accepted images that nobody flagged, and false alarms. Images that a person has judged a
    defect, or that the golden set needs, teach nothing.

    Args:
        refresh_of: The champion, for a refresh; None for a full training.

    Raises:
        TooFewNormalImagesError: If there is none.
    """
    patterns = line.training.normal_batches
    for batch_id in services.landing.batch_ids(line.name):
        if is_normal_batch(line, batch_id):
            validate_batch(line, batch_id, services)
    rows = _members(line, services, refresh_of)
    model = _settled(line, rows)
    read = list(read_images(rows, model, services, doing=f"read {line.name}"))
    good = [image for image in read if image.pixels is not None]
    for image in read:
        if image.pixels is None:
            log.warning("normal_image_left_out", name=image.row["name"], problem=image.problem)
    if not good:
        raise TooFewNormalImagesError(
            f"training line {line.name!r}",
            received=0,
            needed=1,
            advice=f"Put normal images into {services.landing.folder / line.name}/<batch_id>/ with a batch_id like "
            f"{' or '.join(patterns)}.",
        )
    kept = tuple(image.row for image in good)
    settled = {row["image_id"]: row["part"] for row in kept if "part" in row}
    return Snapshot(kept, stack(good, model), model, snapshot_digest(kept), settled)


def snapshot_digest(rows: Iterable[sa.RowMapping]) -> str:
    """Digest which pictures there are, by their bytes, and their names."""
    members = sorted((row["image_id"], row["name"]) for row in rows)
    return hashlib.sha256(json.dumps(members).encode()).hexdigest()


def rebuild_snapshot(version: ModelVersion, services: Services) -> list[sa.RowMapping]:
    """Find every image a model was trained on in the landing zone, byte for byte.

    Returns:
        A row for each, as in `accepted_images`, with the `part` it played.

    Raises:
        ArtefactError: If a file is gone or has other bytes, or the list is not the one that was registered.
    """
    rows = image_rows.snapshot_images(services.engine, version.model_version)
    lost = [f"{row['batch_id']}/{row['name']}" for row in rows if not _is_there(row, services)]
    if lost:
        raise ArtefactError(
            f"{len(lost)} of the {len(rows)} images {version.model_version!r} was trained on are gone or have other "
            f"bytes now: {', '.join(lost[:5])}. Restore them to the landing zone."
        )
    if snapshot_digest(rows) != version.snapshot_sha256:
        raise ArtefactError(
            f"the images listed for {version.model_version!r} have digest {snapshot_digest(rows)[:12]}…, expected "
            f"{version.snapshot_sha256[:12]}…. Restore the results database from a backup."
        )
    return rows


def _is_there(row: sa.RowMapping, services: Services) -> bool:
    path = services.landing.path(row["line"], row["batch_id"], row["name"])
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == row["image_id"]


def _members(line: Line, services: Services, refresh_of: ModelVersion | None) -> list[sa.RowMapping]:
    engine = services.engine
    presumed = pool.presumably_normal(engine, line.name, newest_nights=line.retraining.newest_nights)
    if refresh_of is None:
        vouched = image_rows.normal_images(engine, line.name, line.training.normal_batches)
        new = [row for row in presumed if row["verdict"] == "normal"]
    else:
        vouched = image_rows.snapshot_images(engine, refresh_of.model_version)
        new = newly_accepted(
            presumed,
            max_per_batch=line.retraining.max_new_per_batch,
            review_share=line.retraining.review_share,
        )
    said = {row["image_id"]: row["verdict"] for row in verdicts.judged_images(engine, line.name, "defect", "normal")}
    by_picture = {row["image_id"]: row for row in (*new, *vouched)}
    usable = [row for key, row in by_picture.items() if key not in said or use_of(key, said[key]) is Use.POOL]
    return sorted(usable, key=lambda row: (row["batch_id"], row["name"]))


def newly_accepted(rows: Sequence[sa.RowMapping], *, max_per_batch: int, review_share: float) -> list[sa.RowMapping]:
    """Choose what a refresh learns from, of images that nobody flagged or called a defect.

    Of each batch the share with the lowest p-values is kept back for review, and of the others at most so many are
    taken, by the lot of their digests: one bad night cannot outvote the rest. False alarms are all taken.

    Args:
        rows: With `batch_key`, `image_id`, `p_value` and `verdict`.
    """
    chosen = [row for row in rows if row["verdict"] == "normal"]
    by_batch: dict[str, list[sa.RowMapping]] = {}
    for row in rows:
        if row["verdict"] != "normal":
            by_batch.setdefault(row["batch_key"], []).append(row)
    for members in by_batch.values():
        usual_first = sorted(members, key=lambda row: (-row["p_value"], row["image_id"]))
        usual = usual_first[: len(members) - math.ceil(review_share * len(members))]
        chosen += sorted(usual, key=lambda row: hashlib.sha256(row["image_id"].encode()).digest())[:max_per_batch]
    return chosen


def _settled(line: Line, rows: Sequence[sa.RowMapping]) -> AutoencoderSettings:
    if not rows:
        return line.model
    height, width = (int(np.median([row[name] for row in rows])) for name in ("height_px", "width_px"))
    return with_tiles(line.model, delivered_px=(height, width))
