"""A small line with procedural images, on real databases, real files and a real network."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import Line
from cae_pipeline.steps.services import Services

pytest_plugins = ["tests.databases"]

# read when the libraries are imported, by this process and by those it starts
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

SIDE_PX = 48
LINES_TOML = """
[lines.washers]
description = "Procedural washers"
target_false_alarm_rate = 0.1

[lines.washers.model]
height_px = 32
width_px = 32
feature_resolution = 2
filters = [8, 16]
latent_size = 12

[lines.washers.training]
preset = "quick"
epochs = 12
learning_rate = 5e-3

[lines.washers.validation]
min_images = 3
max_quarantined_share = 0.7
"""


def washer(seed: int, *, defect: bool = False) -> NDArray[np.uint8]:
    """Draw a bright ring with some wear and noise, shape `(48, 48)`; a defect is a dark bite."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2
    radius = np.hypot(rows, columns) + random.normal(0, 0.3)
    ring = (radius > 8) & (radius < 19)
    wear = sum(random.normal(0, 4) * np.cos(k * np.arctan2(rows, columns) + random.uniform(0, 6)) for k in (2, 3, 4, 5))
    image = 40 + ring * (140 + wear) + random.normal(0, 3, radius.shape)
    if defect:
        angle = random.uniform(0, 2 * np.pi)
        bite = np.hypot(rows - 14 * np.sin(angle), columns - 14 * np.cos(angle)) < 5
        image[bite] = 60
    pixels: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return pixels


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16] | Pixels) -> bytes:
    """Encode as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def deliver(landing: Path, line: str, batch_id: str, files: dict[str, bytes], *, manifest: bool = True) -> Path:
    """Put a batch into the landing zone."""
    import hashlib

    folder = landing / line / batch_id
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    rows = [{"name": n, "bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in files.items()]
    if manifest:
        (folder / "manifest.json").write_text(json.dumps({"files": rows}))
    return folder


def washers(seeds: Iterable[int], *, defect: bool = False) -> dict[str, bytes]:
    """Draw several washers as files."""
    word = "bad" if defect else "ok"
    return {f"{word}{seed:05}.png": png(washer(seed, defect=defect)) for seed in seeds}


NORMAL = range(100, 180)


@dataclass(frozen=True)
class Plant:
    """One installation: a line, its services and its landing zone."""

    line: Line
    services: Services
    workspace: Path

    @property
    def landing(self) -> Path:
        """Where batches arrive."""
        return self.workspace / "landing"


@pytest.fixture
def bare_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace with a lines file, named by the environment, for tests that need no results database."""
    for name in [name for name in os.environ if name.startswith("CAE_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "lines.toml").write_text(LINES_TOML)
    monkeypatch.setenv("CAE_WORKSPACE", str(folder))
    return folder


@pytest.fixture
def workspace(bare_workspace: Path, use_copy: Callable[[str, Path | None], None]) -> Path:
    """An empty workspace with a lines file and a results database, both named by the environment."""
    use_copy("migrated", None)
    return bare_workspace


@pytest.fixture
def make_services(workspace: Path) -> Callable[[], Services]:
    """Connect as a new process would."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    return lambda: connect(read_settings())


@pytest.fixture
def services(make_services: Callable[[], Services]) -> Services:
    """A connection to the empty workspace."""
    return make_services()


@pytest.fixture
def line(workspace: Path) -> Line:
    """The small line."""
    from cae_pipeline.lines_file import read_lines

    return read_lines(workspace / "lines.toml")["washers"]


@pytest.fixture(scope="session")
def trained_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose line has a champion; trained once, on SQLite, and copied by those who use it."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.settings import Settings
    from cae_pipeline.steps.life.promote import promote_challenger
    from cae_pipeline.steps.life.train import train_model
    from cae_pipeline.wiring import connect

    folder = tmp_path_factory.mktemp("trained") / "workspace"
    folder.mkdir()
    (folder / "lines.toml").write_text(LINES_TOML)
    services = connect(Settings(workspace=folder))
    line = read_lines(folder / "lines.toml")["washers"]
    deliver(folder / "landing", "washers", "normal-1", washers(NORMAL))
    version = train_model(line, services, note="for the tests")
    assert promote_challenger(line, version.model_version, services).promote
    services.engine.dispose()
    return folder


@pytest.fixture(scope="session")
def challenged_workspace(trained_workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained workspace with a second model, cae-washers/2, which has learnt from other parts of the images."""
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.settings import Settings
    from cae_pipeline.steps.life.train import train_model
    from cae_pipeline.wiring import connect

    folder = tmp_path_factory.mktemp("challenged") / "workspace"
    shutil.copytree(trained_workspace, folder)
    services = connect(Settings(workspace=folder))
    line = read_lines(folder / "lines.toml")["washers"]
    train_model(replace(line, training=replace(line.training, seed=3)), services)
    services.engine.dispose()
    return folder


@pytest.fixture
def plant(trained_workspace: Path, bare_workspace: Path, use_copy: Callable[[str, Path | None], None]) -> Plant:
    """An installation of one's own with a champion."""
    use_copy("trained", trained_workspace / "results.db")
    return _plant(trained_workspace, bare_workspace)


@pytest.fixture
def challenged(challenged_workspace: Path, bare_workspace: Path, use_copy: Callable[[str, Path | None], None]) -> Plant:
    """An installation of one's own with a champion and a challenger, cae-washers/2."""
    use_copy("challenged", challenged_workspace / "results.db")
    return _plant(challenged_workspace, bare_workspace)


def _plant(original: Path, workspace: Path) -> Plant:
    from cae_pipeline.lines_file import read_lines
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    shutil.copytree(original, workspace, dirs_exist_ok=True)
    line = read_lines(workspace / "lines.toml")["washers"]
    return Plant(line, connect(read_settings()), workspace)


@pytest.fixture
def now() -> datetime:
    """A moment."""
    return datetime(2026, 1, 31, 12, tzinfo=UTC)


def at_once(run: Callable[[], object], *, times: int) -> list[Exception]:
    """Run something in several threads at once; returns what was raised."""
    raised: list[Exception] = []

    def guarded() -> None:
        try:
            run()
        except Exception as error:  # noqa: BLE001  # whatever it is, the test must see it
            raised.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised
