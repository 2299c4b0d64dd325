"""Evaluate several sets with several seeds, and write one table."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from joblib import cpu_count

from cae_pipeline.adapters.decoding import DecodeLimits, read_for_network
from cae_pipeline.domain.images import to_floats
from cae_pipeline.errors import ConfigurationError, UnreadableImageError
from cae_pipeline.statistics.baseline import SIDE_PX, floor_scores
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.steps.offline.evaluate_folder import EvaluationSettings, evaluate_alone
from cae_pipeline.steps.offline.image_set import NORMAL, ImageSet, find_image_set

log = structlog.get_logger()

COLUMNS = (
    "set",
    "train",
    "normal + defective",
    "PCA mse",
    "PCA z-blur-max",
    "image AUROC",
    "spread",
    "pixel AUROC",
    "PRO",
    "training s",
    "images/s",
    "peak MiB",
)
FIGURES = ("image_auroc", "pixel_auroc", "pro", "train_seconds", "images_per_second", "peak_memory_bytes")


def run_benchmark(folders: Sequence[Path], *, seeds: Sequence[int], settings: EvaluationSettings) -> dict[str, Any]:
    """Evaluate every set with every seed, each in a process of its own.

    A process of its own, since the peak of the memory is that of a process.

    Args:
        folders: Sets in the layout of MVTec AD.
        seeds: Of splits, weights and defects; each takes the place of the one in the settings.
        settings: How each set is evaluated.

    Returns:
        `machine`, `seeds`, `settings`, and per set its `runs`, `mean` and `spread` (largest less smallest) of each
        figure, and the `floors`; ready for JSON.

    Raises:
        ConfigurationError: If a set has no defects.
        CaeError: If an evaluation fails; says which and why.
    """
    sets = {folder: find_image_set(folder) for folder in folders}
    without_defects = [str(folder) for folder, images in sets.items() if not images.has_defects]
    if without_defects:
        raise ConfigurationError(
            f"a benchmark needs defects in test/<defect type>, received {', '.join(without_defects)}. "
            "`cae evaluate` takes normal images alone."
        )
    results = {}
    for folder, images in sets.items():
        runs = [_evaluate(folder, seed, settings) for seed in seeds]
        results[images.name] = {
            "num_train": runs[0]["num_train"],
            "num_normal": runs[0]["num_normal"],
            "num_defective": runs[0]["num_defective"],
            "floors": _floors(images, settings.limits),
            **_summary(runs),
            "runs": runs,
        }
        log.info("set_measured", set=images.name, **results[images.name]["mean"])
    return {"machine": _machine(), "seeds": list(seeds), "settings": settings.as_json(), "sets": results}


def as_markdown(result: Mapping[str, Any]) -> str:
    """Write the table that people read."""
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for name, row in result["sets"].items():
        mean = row["mean"]
        cells = [
            name,
            str(row["num_train"]),
            f"{row['num_normal']} + {row['num_defective']}",
            f"{row['floors']['mse']:.3f}",
            f"{row['floors']['z_blur_max']:.3f}",
            f"**{mean['image_auroc']:.3f}**",
            f"{row['spread']['image_auroc']:.3f}",
            *(f"{mean[figure]:.3f}" if figure in mean else "–" for figure in ("pixel_auroc", "pro")),
            f"{mean['train_seconds']:.0f}",
            f"{mean['images_per_second']:.0f}",
            f"{mean['peak_memory_bytes'] / 2**20:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if any("ablation" in run for row in result["sets"].values() for run in row["runs"]):
        lines += ["", *_ablation_table(result["sets"])]
    return "\n".join(lines) + "\n"


def _ablation_table(sets: Mapping[str, Any]) -> list[str]:
    """One row per head: image AUROC with it alone, and without it."""
    first = next(iter(sets.values()))["runs"][0]["ablation"]
    lines = ["| head | " + " | ".join(sets) + " |", "|---" * (len(sets) + 1) + "|"]
    for how, word in (("alone", "only"), ("without", "without")):
        for head in first[how]:
            means = [np.mean([run["ablation"][how][head] for run in row["runs"]]) for row in sets.values()]
            lines.append(f"| {word} {head} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    whole = [row["mean"]["image_auroc"] for row in sets.values()]
    return [*lines, "| all | " + " | ".join(f"**{mean:.3f}**" for mean in whole) + " |"]


def _evaluate(folder: Path, seed: int, settings: EvaluationSettings) -> dict[str, Any]:
    line = replace(settings.line, training=replace(settings.line.training, seed=seed))
    result = evaluate_alone(folder, replace(settings, line=line))
    log.info("seed_measured", set=result["set"], seed=seed, image_auroc=result["image_auroc"])
    return result


def _summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    columns = {name: [run[name] for run in runs] for name in FIGURES if name in runs[0]}
    return {
        "mean": {name: float(np.mean(values)) for name, values in columns.items()},
        "spread": {name: float(max(values) - min(values)) for name, values in columns.items()},
    }


def _floors(images: ImageSet, limits: DecodeLimits) -> dict[str, float]:
    train = _grey(images.train, limits)
    test = _grey([path for path, _, _ in images.test], limits)
    scores = floor_scores(np.stack(list(train.values())), np.stack(list(test.values())))
    defective = np.array([kind != NORMAL for path, kind, _ in images.test if path in test])
    return {
        name: auroc(values[~defective], values[defective])
        for name, values in (("mse", scores.mse), ("z_blur_max", scores.z_blur_max))
    }


def _grey(paths: Sequence[Path], limits: DecodeLimits) -> dict[Path, Any]:
    pixels = {}
    for path in paths:
        try:
            square = read_for_network(path.read_bytes(), limits, height_px=SIDE_PX, width_px=SIDE_PX, channels=1)
        except UnreadableImageError as error:
            log.warning("image_left_out", path=str(path), problem=str(error))
            continue
        pixels[path] = to_floats(square)[..., 0]
    return pixels


def _machine() -> dict[str, Any]:
    return {"processor": platform.processor() or platform.machine(), "num_cores": cpu_count()}
