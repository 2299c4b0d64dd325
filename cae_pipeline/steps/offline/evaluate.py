"""Train on and judge anyone's folder of images, over the same path as the pipeline."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from cae_pipeline.adapters.decoding import DecodeLimits, decode, read_for_network
from cae_pipeline.concurrency.memory import peak_memory_bytes
from cae_pipeline.detector.convolution import describe
from cae_pipeline.detector.scorer import Scorer
from cae_pipeline.detector.tiling import with_tiles
from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.images import Floats, Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Head, Line
from cae_pipeline.errors import UnreadableImageError
from cae_pipeline.statistics.metrics import ImageFigures, auroc, image_figures
from cae_pipeline.statistics.pixel_metrics import pixel_figures
from cae_pipeline.steps.life.fit import FittedModel, fit_model
from cae_pipeline.steps.life.ignored import read_ignored
from cae_pipeline.steps.offline.image_set import NORMAL, ImageSet, delivered_px
from cae_pipeline.steps.services import Progress
from cae_pipeline.training.fit_autoencoder import OnEpoch

log = structlog.get_logger()

MAX_CALIBRATION_SHARE = 0.35
"""Of the normal images, where few must serve both the network and the threshold."""
PIXEL_FIGURES_MAX_PX = 512
"""Maps are compared with masks at the delivered size, but at most this many pixels on the longer side."""


@dataclass(frozen=True)
class JudgedImage:
    """One test image: what is true of it and what the model said.

    Attributes:
        kind: Defect type, or "good".
        anomaly_map: At the size of the mask; None where pixels cannot be judged.
        mask: True where defective, all False for a normal image; None where there is no mask that marks anything.
    """

    kind: str
    score: float
    anomaly_map: Floats | None
    mask: NDArray[np.bool_] | None


def evaluate_set(
    images: ImageSet, line: Line, limits: DecodeLimits, *, progress: Progress, on_epoch: OnEpoch, ablation: bool = False
) -> dict[str, Any]:
    """Train on the set's normal images and work out every figure on its test images.

    Args:
        images: What to train on and to judge.
        line: Network, training and target.
        limits: What one file may cost.
        progress: Shows what is going on.
        on_epoch: Told about every epoch.
        ablation: Whether to judge with each head alone and without each.

    Returns:
        The keys of `docs/evaluation.md`, ready for JSON.

    Raises:
        TooFewNormalImagesError: If there are too few normal images for the target.
        ConfigurationError: If the ignore mask or the region of interest does not fit the images.
    """
    line, ignored = _fitting(line, images, limits)
    train, unreadable = _read(images.train, line.model, limits, progress)
    line = _affordable(line, len(train))
    model = fit_model(np.stack(list(train.values())), _digests(train), line, on_epoch=on_epoch, ignored=ignored)
    started = time.perf_counter()
    test, broken = _read([path for path, _, _ in images.test], line.model, limits, progress)
    pixels = np.stack(list(test.values()))
    scored = model.scorer.score(pixels)
    seconds = time.perf_counter() - started
    rows = [row for row in images.test if row[0] in test]
    judged = [_judged(*answer, limits) for answer in zip(rows, scored.scores.tolist(), scored.maps, strict=True)]
    result = {
        "set": images.name,
        "seed": line.training.seed,
        **_figures(judged, model.threshold.value),
        "per_defect_type": _by_type(judged, model.threshold.value),
        "train_seconds": model.train_seconds,
        "images_per_second": len(test) / seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "num_train": len(train),
        "unreadable": [str(path) for path in (*unreadable, *broken)],
        "outliers": [str(list(train)[position]) for position in model.fit.outliers],
        "chosen": _chosen(line, model),
    }
    if ablation:
        result["ablation"] = _ablation(model.scorer, pixels, np.array([row[1] != NORMAL for row in rows]))
    log.info("set_evaluated", **{key: result[key] for key in ("set", "seed", "image_auroc", "f1", "false_alarm_rate")})
    return result


def _fitting(line: Line, images: ImageSet, limits: DecodeLimits) -> tuple[Line, Ignored | None]:
    """Settle the tiles for the size of the set's images, and read what is ignored of them."""
    size_px = delivered_px(images.train, limits)
    line = replace(line, model=with_tiles(line.model, delivered_px=size_px))
    return line, read_ignored(line, delivered_px=size_px, limits=limits)


def _ablation(scorer: Scorer, pixels: Pixels, defective: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Image AUROC with each head alone, and with all but it; nothing is trained anew."""
    every = scorer.settings.heads

    def with_heads(heads: tuple[Head, ...]) -> float:
        scores = replace(scorer, settings=replace(scorer.settings, heads=heads)).score(pixels).scores
        return auroc(scores[~defective], scores[defective])

    alone: dict[str, float] = {head: with_heads((head,)) for head in every}
    without: dict[str, float] = {
        head: with_heads(tuple(other for other in every if other != head)) for head in every if len(every) > 1
    }
    return {"alone": alone, "without": without}


def _digests(paths: Iterable[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def _affordable(line: Line, num_normal: int) -> Line:
    """Ask for no lower false-alarm rate than a small set can promise while enough of it is left to train on."""
    lowest = 1 / (int(MAX_CALIBRATION_SHARE * num_normal) + 1)
    if line.target_false_alarm_rate >= lowest:
        return line
    log.warning(
        "target_raised", num_normal=num_normal, asked=line.target_false_alarm_rate, target_false_alarm_rate=lowest
    )
    return replace(line, target_false_alarm_rate=lowest)


def _judged(row: tuple[Path, str, Path | None], score: float, anomaly_map: Floats, limits: DecodeLimits) -> JudgedImage:
    path, kind, mask_path = row
    if kind != NORMAL and mask_path is None:
        return JudgedImage(kind, score, None, None)
    marked: NDArray[np.uint8] = decode((mask_path or path).read_bytes(), limits)[0]
    mask = (marked if marked.ndim == 2 else marked.max(axis=2)) > 0 if mask_path else np.zeros(marked.shape[:2], bool)
    if kind != NORMAL and not mask.any():
        return JudgedImage(kind, score, None, None)
    scale = min(1.0, PIXEL_FIGURES_MAX_PX / max(mask.shape))
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return JudgedImage(kind, score, cv2.resize(anomaly_map, size, interpolation=cv2.INTER_LINEAR), small)


def _figures(judged: Sequence[JudgedImage], threshold: float) -> dict[str, Any]:
    scores = np.array([image.score for image in judged])
    figures = image_figures(scores, scores > threshold, np.array([image.kind != NORMAL for image in judged]))
    marked = [(image.anomaly_map, image.mask) for image in judged if image.anomaly_map is not None]
    maps, masks = [pair[0] for pair in marked], [pair[1] for pair in marked if pair[1] is not None]
    pixels = pixel_figures(maps, masks) if any(mask.any() for mask in masks) else None
    return {**_flat(figures), **(asdict(pixels) if pixels else {})}


def _by_type(judged: Sequence[JudgedImage], threshold: float) -> dict[str, Any]:
    return {kind: _of_type(kind, judged, threshold) for kind in sorted({image.kind for image in judged} - {NORMAL})}


def _of_type(kind: str, judged: Sequence[JudgedImage], threshold: float) -> dict[str, Any]:
    figures = _figures([image for image in judged if image.kind in (kind, NORMAL)], threshold)
    flagged = [image.score > threshold for image in judged if image.kind == kind]
    wanted = ("image_auroc", "average_precision", "f1", "pixel_auroc", "pro", "num_masks")
    return {
        "num_images": len(flagged),
        "detected": sum(flagged) / len(flagged),
        **{name: figures[name] for name in wanted if name in figures},
    }


def _flat(figures: ImageFigures) -> dict[str, Any]:
    flat = asdict(figures)
    interval = [flat.pop("false_alarm_low"), flat.pop("false_alarm_high")]
    return {**flat, "false_alarm_rate_interval_95": interval}


def _chosen(line: Line, model: FittedModel) -> dict[str, Any]:
    return {
        "model": asdict(line.model),
        "training": asdict(line.training),
        "num_parameters": sum(layer.num_parameters for layer in describe(line.model)),
        "epochs": model.fit.fitted_autoencoder.epochs,
        "best_epoch": model.fit.fitted_autoencoder.best_epoch,
        "augmentations": list(model.fit.augmentations),
        "head_aurocs": dict(model.fit.head_aurocs),
        "fusion_weights": {head: profile.fusion_weight for head, profile in model.scorer.profiles.items()},
        "threshold": asdict(model.threshold),
        "synthetic_auroc": model.synthetic_auroc,
    }


def _read(
    paths: Sequence[Path], model: AutoencoderSettings, limits: DecodeLimits, progress: Progress
) -> tuple[dict[Path, Pixels], list[Path]]:
    pixels: dict[Path, Pixels] = {}
    unreadable = []
    for path in progress(paths, total=len(paths), doing="read"):
        try:
            pixels[path] = read_for_network(
                path.read_bytes(),
                limits,
                height_px=model.read_px[0],
                width_px=model.read_px[1],
                channels=model.channels,
            )
        except UnreadableImageError as error:
            log.warning("image_left_out", path=str(path), problem=str(error))
            unreadable.append(path)
    return pixels, unreadable
