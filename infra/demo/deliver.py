"""Play the cameras: deliver the solar cells of `elpv-dataset` as batches into the landing zone.

Normal cells of one part become the batch that trains; the others arrive as dated batches together
with all cells of a defect probability above 0 – and with the trouble that real deliveries bring.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

NIGHTS = ("2026-01-12", "2026-01-13", "2026-01-14", "2026-01-15")
LINES = {"cells-mono": "mono", "cells-poly": "poly"}
NUM_TRAINING = {"mono": 412, "poly": 644}
REJECTED_BATCH = ("cells-poly", "2026-01-14-late-shift")
NUM_IN_REJECTED, NUM_COVERED = 40, 32


@dataclass(frozen=True)
class Cell:
    """One image of the dataset."""

    name: str
    probability: float
    content: bytes


def deliver(landing: Path) -> tuple[list[str], list[str], dict[str, float]]:
    """Write every batch that is not there yet.

    Returns:
        Batches delivered now, batches that were there already, and the defect probability of
        each image by the sha256 of its bytes.
    """
    new: list[str] = []
    old: list[str] = []
    labels: dict[str, float] = {}
    for line, kind in LINES.items():
        cells = list(read_cells(kind))
        labels |= {hashlib.sha256(cell.content).hexdigest(): cell.probability for cell in cells}
        for batch_id, members in _batches(line, kind, cells).items():
            folder = landing / line / batch_id
            if (folder / "manifest.json").is_file():
                old.append(f"{line}/{batch_id}")
                continue
            _write(folder, members)
            new.append(f"{line}/{batch_id}")
    return new, old, labels


def read_cells(kind: str) -> Iterator[Cell]:
    """Read the cells of one kind, mono or poly."""
    data = files("elpv_dataset") / "data"
    rows = csv.reader((data / "labels.csv").read_text().splitlines(), delimiter=" ", skipinitialspace=True)
    for row in rows:
        path, probability, of_kind = (field for field in row if field)
        if of_kind == kind:
            yield Cell(path.rsplit("/", 1)[-1], float(probability), (data / path).read_bytes())


def _batches(line: str, kind: str, cells: list[Cell]) -> dict[str, dict[str, bytes]]:
    shuffle = random.Random(0)  # noqa: S311
    normal = sorted((cell for cell in cells if cell.probability == 0), key=lambda cell: cell.name)
    shuffle.shuffle(normal)
    training, unseen = normal[: NUM_TRAINING[kind]], normal[NUM_TRAINING[kind] :]
    rest = unseen + sorted((cell for cell in cells if cell.probability > 0), key=lambda cell: cell.name)
    shuffle.shuffle(rest)
    late = []
    if line == REJECTED_BATCH[0]:
        late, rest = rest[:NUM_IN_REJECTED], rest[NUM_IN_REJECTED - NUM_COVERED :]
    batches = {"normal-2026-01": {cell.name: cell.content for cell in training}}
    for index, night in enumerate(NIGHTS):
        delivered = {cell.name: cell.content for cell in rest[index :: len(NIGHTS)]}
        batches[night] = delivered | _trouble(index, list(delivered.values()))
    for index, cell in enumerate(late):
        # somebody left the cap on the lens after the first few frames
        covered = index >= NUM_IN_REJECTED - NUM_COVERED
        content = _darkened(cell.content, seed=index) if covered else cell.content
        batches.setdefault(REJECTED_BATCH[1], {})[f"frame{index:04}.png"] = content
    return batches


def _trouble(night: int, contents: list[bytes]) -> dict[str, bytes]:
    """What goes wrong with files on their way; another part of it each night."""
    first, second, third = contents[:3]
    trouble = {
        "frame9001.png": first[: len(first) // 2],  # the transfer broke off
        "frame9002.png": second,  # sent twice under two names
        "frame9003.png": b"camera 2: no trigger signal\n",
        "frame9004.png": _png(np.zeros((300, 300), np.uint8)),  # the lamp was off
        "frame9005.png": _png(np.asarray(Image.open(io.BytesIO(third)))[:240, :240]),  # a wrong crop
    }
    return dict(list(trouble.items())[: 3 + night % 3])


def _darkened(content: bytes, *, seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 1, (300, 300))
    pixels = np.asarray(Image.open(io.BytesIO(content)), np.float32) * 0.01 + noise
    return _png(np.clip(pixels, 0, 255).astype(np.uint8))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _write(folder: Path, members: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in members.items():
        (folder / name).write_bytes(content)
    rows = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members.items()
    ]
    # last: a batch with a manifest is complete
    (folder / "manifest.json").write_text(json.dumps({"files": rows}, indent=1))
