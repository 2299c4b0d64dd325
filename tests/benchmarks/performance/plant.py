"""An installation to measure: images made from real ones, lines with a champion, batches, child processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cae_pipeline.adapters.decoding import DecodeLimits, decode
from cae_pipeline.adapters.results import ledger
from cae_pipeline.adapters.results.ledger import Change
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.promotion import Decision
from cae_pipeline.lines_file import read_lines
from cae_pipeline.settings import Settings
from cae_pipeline.steps.life.train import train_model
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from cae_pipeline.wiring import connect
from infra.demo.deliver import read_cells

NUM_NORMAL = 120
SMALL = "small"
_LINE = """
[lines.{name}]
description = "{description}"
[lines.{name}.model]
channels = 3
feature_resolution = {resolution}
[lines.{name}.training]
preset = "{preset}"
epochs = 4
[lines.{name}.validation]
near_duplicates = false
max_quarantined_share = 1
"""
LINES = "".join(
    _LINE.format(name=name, description=description, resolution=resolution, preset=preset)
    for name, description, resolution, preset in (
        ("px128", "512 px JPEG looked at with 128 px", 2, "normal"),
        ("px256", "512 px JPEG looked at with 256 px, the network of docs/quality.md", 4, "normal"),
        (SMALL, "128 px JPEG: what grows with the number of images must not hide behind decoding", 2, "quick"),
    )
)
"""The networks that are measured are those of the preset `normal`; their weights hardly matter for speed."""


@dataclass(frozen=True)
class Plant:
    """One installation in a folder of its own."""

    workspace: Path
    services: Services
    lines: dict[str, Line]

    def deliver(self, line: str, batch_id: str, count: int) -> None:
        """Put a batch of images into the landing zone and validate it."""
        side_px = 128 if line == SMALL else 512
        folder = self.workspace / "landing" / line / batch_id
        folder.mkdir(parents=True)
        for number, content in enumerate(jpegs(count, seed=zlib.crc32(f"{line}/{batch_id}".encode()), side_px=side_px)):
            (folder / f"{number:06}.jpg").write_bytes(content)
        (folder / "_SUCCESS").touch()
        validated = validate_batch(self.lines[line], batch_id, self.services)
        assert validated.num_quarantined == 0, f"{validated.num_quarantined} of {count} images were quarantined"


@dataclass(frozen=True)
class Child:
    """What a process of its own has cost."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def build(workspace: Path) -> Plant:
    """Set lines up, each with a champion."""
    workspace.mkdir(parents=True)
    (workspace / "lines.toml").write_text(LINES)
    services = connect(Settings(workspace=workspace, chunk_size=4096))
    plant = Plant(workspace, services, read_lines(workspace / "lines.toml"))
    for name, line in plant.lines.items():
        plant.deliver(name, "normal-1", NUM_NORMAL)
        # not through the gate: how well so short a training detects has no say in how fast it is
        decision = Decision(True, ("ok: speed is measured, not quality",))
        trained = train_model(line, services)
        with services.write() as work:
            ledger.record_decision(work.connection, Change(None, trained), decision, services.stamp())
            work.commit()
    return plant


def jpegs(count: int, *, seed: int, side_px: int) -> Iterator[bytes]:
    """Make colour JPEGs, no two alike, from 64 real cells: enlarged, lit and tinted anew.

    Only so many pictures are drawn; further files are those with other bytes behind the image's end, so that
    a hundred thousand of them cost neither an hour nor a picture alike to the digest.
    """
    random = np.random.default_rng(seed)
    cells = [cell for _, cell in zip(range(64), read_cells("mono"), strict=False)]
    drawn: list[bytes] = []
    for number in range(count):
        if len(drawn) < 512:
            grey = decode(cells[number % len(cells)].content, DecodeLimits())[0]
            enlarged = cv2.resize(grey, (side_px, side_px), interpolation=cv2.INTER_CUBIC).astype(np.float32)
            tint = random.uniform(0.9, 1.1, 3) * random.uniform(0.9, 1.1)
            noisy = enlarged[..., None] * tint + random.normal(0, 2, (side_px, side_px, 3))
            done, encoded = cv2.imencode(
                ".jpg", np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90]
            )
            assert done
            drawn.append(encoded.tobytes())
        yield drawn[number % len(drawn)] + seed.to_bytes(8) + number.to_bytes(8)


def run_cae(plant: Plant, arguments: Sequence[str], *, cores: int | None = None) -> Child:
    """Run a `cae` command in a process of its own, on so many cores, and see what it costs."""
    return run_python(["-m", "cae_pipeline", *arguments], cores=cores, workspace=plant.workspace)


def run_python(arguments: Sequence[str], *, cores: int | None = None, workspace: Path | None = None) -> Child:
    """Run Python in a process of its own.

    Raises:
        RuntimeError: If it fails; with what it said.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CAE_")}
    if workspace is not None:
        environment |= {"CAE_WORKSPACE": str(workspace), "CAE_CHUNK_SIZE": "4096"}
    allowed = sorted(os.sched_getaffinity(0))[: cores or None]
    started = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "--cpu-list", ",".join(map(str, allowed)), sys.executable, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    peak = _Peak(process.pid)
    said = process.stderr.read()
    peak.stop()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {said[-2000:]}")
    return Child(seconds, usage.ru_utime + usage.ru_stime, peak.num_bytes)


class _Peak(threading.Thread):
    """Watches the high-water mark of a process; what wait4 tells counts the parent it was forked from too."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.num_bytes = 0
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text())
            except OSError:
                return
            # before the program is loaded, the mark is still the parent's
            if found and "python" in self._status.with_name("cmdline").read_text():
                self.num_bytes = int(found[1]) * 1024

    def stop(self) -> None:
        self._ended.set()
        self.join()
