"""Throughput of scoring, beside the limit its parts set and beside what anyone would write first."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import sqlalchemy as sa
from PIL import Image

from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.concurrency.parallel import in_order
from cae_pipeline.detector.error_maps import NetworkOutputs
from cae_pipeline.detector.scorer import MINIBATCH_SIZE, Scorer
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.steps.night.load import load_model, load_parts
from cae_pipeline.steps.night.read import ReadImage, read_image
from tests import asking
from tests.benchmarks.performance.plant import Plant, run_cae, run_python

FEW, MANY = 512, 2048
ROUNDS = 3
START = """
from cae_pipeline.settings import read_settings
from cae_pipeline.wiring import connect
from cae_pipeline.adapters.results import ledger
from cae_pipeline.steps.night.load import load_model
import numpy as np
services = connect(read_settings())
with services.read() as connection:
    champion = ledger.champion_of(connection, "px256")
scorer = load_model(champion, services)
scorer.score_few(np.zeros((1, *scorer.settings.read_px, scorer.settings.channels), np.uint8))
"""


def throughput(plant: Plant, line: str, *, cores: int) -> list[float]:
    """Images per second of `cae score` on so many cores, without its start: from a small and a larger batch."""
    samples = []
    for number in range(ROUNDS):
        seconds = {}
        for count in (FEW, MANY):
            plant.deliver(line, f"2026-02-{number + 1:02}-{cores}-{count}", count)
            seconds[count] = run_cae(plant, ["score", line], cores=cores).wall_seconds
        samples.append((MANY - FEW) / (seconds[MANY] - seconds[FEW]))
    return samples


def limit(plant: Plant, line: str, *, cores: int) -> dict[str, list[float]]:
    """Seconds per image of decoding alone and of the networks alone, on so many cores, measured in a child."""
    out = plant.workspace / "limit.json"
    code = f"from tests.benchmarks.performance.scoring import measure_parts; measure_parts({line!r}, {str(out)!r})"
    run_python(["-c", code], cores=cores, workspace=plant.workspace)
    parts: dict[str, list[float]] = json.loads(out.read_text())
    return parts


def measure_parts(line: str, out: str) -> None:
    """Time decoding and the networks apart, each over all cores this process has."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.wiring import connect

    services = connect(read_settings())
    scorer = load_model(asking.champion(services, line), services)
    keys = [row.delivery_key for row in asking.batch_rows(services, line)]
    with services.read() as connection:
        rows = image_rows.usual_images(connection, keys)[:MANY]
    parts = [rows[start : start + MINIBATCH_SIZE] for start in range(0, len(rows), MINIBATCH_SIZE)]

    def decode(part: Sequence[AcceptedImage]) -> Pixels:
        return np.stack([_pixels(read_image(image, scorer.settings, services)) for image in part])

    tiles = list(in_order(decode, parts[: 256 // MINIBATCH_SIZE])) * (len(parts) * MINIBATCH_SIZE // 256)
    figures: dict[str, list[float]] = {"decode": [], "forward": []}
    for _ in range(ROUNDS):
        figures["decode"].append(_seconds(decode, parts) / (len(parts) * MINIBATCH_SIZE))
        figures["forward"].append(_seconds(scorer.forward, tiles) / (len(tiles) * MINIBATCH_SIZE))
    Path(out).write_text(json.dumps(figures))


def naive(plant: Plant, line: str) -> dict[str, list[float]]:
    """Images per second of what anyone would write first, with the same network: Pillow, `predict`, `to_sql`."""
    import keras

    from cae_pipeline.training.reference import build_forward

    version = asking.champion(plant.services, line)
    network: keras.Model = build_forward(load_parts(version, plant.services))
    scorer = replace(
        load_model(version, plant.services),
        forward=lambda tiles: NetworkOutputs(*network.predict(tiles, verbose=0)),
    )
    paths = sorted((plant.workspace / "landing" / line).glob(f"2026-02-*-{MANY}/*.jpg"))
    engine = sa.create_engine(f"sqlite:///{plant.workspace / 'naive.db'}")
    _naive(paths[:32], scorer, engine, at_once=32)  # traces the network
    return {
        "one_by_one": [_naive(paths[:32], scorer, engine, at_once=1) for _ in range(ROUNDS)],
        "by_32": [_naive(paths[:256], scorer, engine, at_once=32) for _ in range(ROUNDS)],
    }


def _naive(paths: Sequence[Path], scorer: Scorer, engine: sa.Engine, *, at_once: int) -> float:
    height_px, width_px = scorer.settings.read_px
    started = time.perf_counter()
    for start in range(0, len(paths), at_once):
        some = paths[start : start + at_once]
        pictures = [Image.open(path).convert("RGB").resize((width_px, height_px)) for path in some]
        judged = scorer.score_few(np.stack([np.asarray(picture) for picture in pictures]))
        for path, one in zip(some, judged.maps, strict=True):
            grey = Image.fromarray(np.clip(one * 1000, 0, 65535).astype(np.uint16))
            grey.save(scorer_map := io.BytesIO(), "PNG")
            (Path(str(engine.url.database)).parent / f"naive-{path.stem}.png").write_bytes(scorer_map.getvalue())
        rows = {"name": [path.name for path in some], "score": judged.scores}
        pd.DataFrame(rows).to_sql("scores", engine, if_exists="append", index=False)
    return len(paths) / (time.perf_counter() - started)


def baselines(plant: Plant, line: str) -> dict[str, list[float]]:
    """Images per second of scikit-learn's PCA and of PyOD on 64 px of the same files, decoding included, one core."""
    from pyod.models.ecod import ECOD
    from sklearn.decomposition import PCA

    paths = sorted((plant.workspace / "landing" / line).glob(f"2026-02-*-{MANY}/*.jpg"))
    normal = np.stack([_small(path) for path in sorted((plant.workspace / "landing" / line).glob("normal-1/*.jpg"))])
    pca = PCA(32, random_state=0).fit(normal)
    ecod = ECOD().fit(pca.transform(normal))

    def by_pca(images: np.ndarray) -> Any:
        return ((images - pca.inverse_transform(pca.transform(images))) ** 2).mean(axis=1)

    def by_pyod(images: np.ndarray) -> Any:
        return ecod.decision_function(pca.transform(images))

    def rate(judge: Callable[[np.ndarray], Any]) -> float:
        return 256 / _timed(lambda: judge(np.stack([_small(path) for path in paths[:256]])))

    return {
        name: [rate(judge) for _ in range(ROUNDS)]
        for name, judge in (("scikit-learn PCA", by_pca), ("PyOD ECOD on 32 components", by_pyod))
    }


def start_seconds(plant: Plant) -> list[float]:
    """CPU seconds from the start of a process to its first judged image."""
    return [run_python(["-c", START], workspace=plant.workspace).cpu_seconds for _ in range(ROUNDS)]


def start_wall_seconds(plant: Plant) -> list[float]:
    """The same as wall time."""
    return [run_python(["-c", START], workspace=plant.workspace).wall_seconds for _ in range(ROUNDS)]


def empty_night(plant: Plant) -> float:
    """CPU seconds of all processes of an empty night."""
    night = ["--night", "2030-01-01"]
    steps = (["find", *night], ["plan"], ["watch", *night], ["publish", *night])
    return sum(run_cae(plant, step).cpu_seconds for step in steps)


def _small(path: Path) -> np.ndarray:
    grey = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    small: np.ndarray = cv2.resize(grey, (64, 64), interpolation=cv2.INTER_AREA).ravel().astype(np.float32) / 255
    return small


def _pixels(read: ReadImage) -> Pixels:
    assert read.pixels is not None, read.failure
    return read.pixels


def _seconds(work: Callable[[Any], Any], items: Sequence[Any]) -> float:
    return _timed(lambda: sum(1 for _ in in_order(work, items)))


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
