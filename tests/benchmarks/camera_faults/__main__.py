"""Inject camera faults into real sets, and see under which names validation catches them.

    python -m tests.benchmarks.camera_faults FOLDER…

Each folder is laid out as MVTec AD lays out its sets; the demo's solar cells are added. Limits are learnt from one
half of the normal images, drawn by a seed; the other half is delivered as a healthy camera delivers it, and once with
each fault.
"""

from __future__ import annotations

import hashlib
import io
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import sqlalchemy as sa
import structlog
from PIL import Image

from cae_pipeline.adapters.decoding import DecodeLimits, Measured, decode
from cae_pipeline.adapters.results.schema import batches, deliveries, images
from cae_pipeline.domain.facts import measure
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import Line, TrainingSettings, ValidationSettings
from cae_pipeline.settings import Settings
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from cae_pipeline.wiring import connect
from infra.demo.deliver import read_cells
from tests.benchmarks.camera_faults.faults import (
    ANOTHER_PART_NAMES,
    FAULTS,
    STUCK_NAMES,
    another_part,
    encoded,
    stuck_files,
)
from tests.conftest import deliver

SEEDS = (1, 2)
NUM_FAULTY = 60
"""Images of each fault, at most."""
NUM_STUCK, NUM_FRAMES = 10, 8
"""Pictures that the camera gets stuck at, and images it delivers of each."""
Remarks = dict[str, frozenset[str]]


@dataclass(frozen=True)
class ImageSet:
    """Pictures of one line: of normal parts and of defective ones."""

    name: str
    normal: Sequence[Pixels]
    defective: Sequence[Pixels]


def main(folders: Sequence[Path]) -> None:
    """Run it and print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sets = [*map(_read_folder, folders), *map(_read_cells, ("mono", "poly"))]
    print(
        "| set | what the camera delivers | images | remarked on | caught by name | names |\n|---|---|---|---|---|---|"
    )
    for image_set in sets:
        rows: dict[str, list[tuple[frozenset[str], frozenset[str]]]] = {}
        for seed in SEEDS:
            for what, wanted, remarks in _run(image_set, [one for one in sets if one is not image_set], seed):
                rows.setdefault(what, []).extend((wanted, names) for names in remarks.values())
        for what, found in rows.items():
            print(_row(image_set.name, what, found), flush=True)


def _run(image_set: ImageSet, others: Sequence[ImageSet], seed: int) -> Iterable[tuple[str, frozenset[str], Remarks]]:
    random = np.random.default_rng(seed)
    order = random.permutation(len(image_set.normal))
    learnt, held_out = np.sort(order[::2]), np.sort(order[1::2])
    line = Line("line", training=TrainingSettings(), validation=ValidationSettings(max_quarantined_share=1.0))
    with tempfile.TemporaryDirectory() as temporary:
        plant = _Plant(connect(Settings(workspace=Path(temporary))), line)
        plant.validate("normal-1", _files(image_set.normal[row] for row in learnt))
        healthy = [image_set.normal[row] for row in held_out]
        yield "normal parts", frozenset(), plant.validate("2026-01-01", _files(healthy))
        if image_set.defective:
            yield "defective parts", frozenset(), plant.validate("2026-01-02", _files(image_set.defective))
        chosen = [healthy[row] for row in random.permutation(len(healthy))[:NUM_FAULTY]]
        for number, (what, fault) in enumerate(FAULTS.items(), start=1):
            faulty = _files(fault.make(image, random) for image in chosen)
            yield what, fault.names, plant.validate(f"2026-02-{number:02}", faulty)
        for number, other in enumerate(others, start=1):
            drawn = random.choice(len(other.normal), min(NUM_FAULTY, len(other.normal)), replace=False)
            foreign = [another_part(other.normal[row], like) for row, like in zip(drawn, chosen, strict=False)]
            yield f"part of {other.name}", ANOTHER_PART_NAMES, plant.validate(f"2026-03-{number:02}", _files(foreign))
        stuck: dict[str, dict[str, bytes]] = {}
        for picture, image in enumerate(chosen[:NUM_STUCK]):
            for kind, frames in stuck_files(image, NUM_FRAMES, random).items():
                named = {f"p{picture:03}-{frame}.{suffix}": body for frame, (suffix, body) in enumerate(frames)}
                stuck.setdefault(kind, {}).update(named)
        for number, (kind, files) in enumerate(stuck.items(), start=1):
            remarks = plant.validate(f"2026-04-{number:02}", files)
            after_first = {name: names for name, names in remarks.items() if "-0." not in name}
            yield f"stuck frame, {kind}", STUCK_NAMES, after_first


@dataclass(frozen=True)
class _Plant:
    services: Services
    line: Line

    def validate(self, batch_id: str, files: dict[str, bytes]) -> Remarks:
        """Deliver and validate a batch; name of each image → what was remarked on it."""
        deliver(self.services.landing.folder, self.line.name, batch_id, files)
        # no process has to be started for pictures that nobody has tampered with
        with patch("cae_pipeline.steps.night.validate.measure_files", _measure_here):
            validate_batch(self.line, batch_id, self.services)
        with self.services.read() as connection:
            query = (
                sa.select(images.c.name, images.c.detail)
                .join(deliveries, deliveries.c.delivery_key == images.c.delivery_key)
                .join(batches, batches.c.batch_key == deliveries.c.batch_key)
                .where(batches.c.batch_id == batch_id)
            )
            rows = connection.execute(query).all()
        return {row.name: frozenset(_reasons(row.detail)) for row in rows}


def _measure_here(paths: Sequence[Path], limits: DecodeLimits) -> Iterable[Measured]:
    for path in paths:
        content = path.read_bytes()
        pixels, mode = decode(content, limits)
        yield Measured(measure(pixels, mode=mode), sha256=hashlib.sha256(content).hexdigest())


def _reasons(detail: str) -> list[str]:
    return [one.partition(":")[0] for one in detail.split("; ") if one]


def _files(pictures: Iterable[Pixels]) -> dict[str, bytes]:
    return {f"i{row:05}.png": encoded(image, "PNG", compress_level=1) for row, image in enumerate(pictures)}


def _row(name: str, what: str, found: Sequence[tuple[frozenset[str], frozenset[str]]]) -> str:
    remarked = sum(bool(names) for _, names in found) / len(found)
    caught = sum(bool(names & wanted) for wanted, names in found) / len(found)
    counts = Counter(one for _, names in found for one in names).most_common(5)
    told = ", ".join(f"{one} {count / len(found):.1%}" for one, count in counts)
    caught_in_words = f"{caught:.1%}" if found[0][0] else ""
    return f"| {name} | {what} | {len(found)} | {remarked:.1%} | {caught_in_words} | {told} |"


def _read_folder(folder: Path) -> ImageSet:
    normal = [*sorted((folder / "train/good").iterdir()), *sorted((folder / "test/good").iterdir())]
    kinds = [kind for kind in sorted((folder / "test").iterdir()) if kind.name != "good"]
    defective = [path for kind in kinds for path in sorted(kind.iterdir())]
    return ImageSet(folder.name, [_pixels(path) for path in normal], [_pixels(path) for path in defective])


def _read_cells(kind: str) -> ImageSet:
    cells = sorted(read_cells(kind), key=lambda cell: cell.name)
    of = {
        probability: [_decoded(cell.content) for cell in cells if cell.probability == probability]
        for probability in (0, 1)
    }
    return ImageSet(f"cells-{kind}", of[0], of[1])


def _pixels(path: Path) -> Pixels:
    return _decoded(path.read_bytes())


def _decoded(content: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(content)))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m tests.benchmarks.camera_faults FOLDER…")
    main([Path(argument) for argument in sys.argv[1:]])
