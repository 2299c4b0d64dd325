"""Train on and judge anyone's folder of images, over the same path as the pipeline."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from cae_pipeline.domain.image_settings import settled
from cae_pipeline.domain.images import Floats, Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Head, Line
from cae_pipeline.errors import UnreadableImageError
from cae_pipeline.statistics.metrics import ImageFigures, auroc, image_figures, share_with_interval
from cae_pipeline.statistics.pixel_metrics import pixel_figures
from cae_pipeline.steps.life.fit import FittedModel, fit_model
from cae_pipeline.steps.life.ignored import read_ignored
from cae_pipeline.steps.offline.image_set import NORMAL, ImageSet, delivered_px, facts_of
from cae_pipeline.steps.offline.sample_maps import write_sample_maps
from cae_pipeline.steps.services import Progress
from cae_pipeline.training.fit_autoencoder import OnEpoch

if TYPE_CHECKING:
    from cae_pipeline.steps.offline.evaluate_folder import EvaluationSettings

log = structlog.get_logger()

LOGGED = ("set", "seed", "image_auroc", "f1", "false_alarm_rate")

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
    images: ImageSet, line: Line, settings: EvaluationSettings, *, progress: Progress, on_epoch: OnEpoch
) -> dict[str, Any]:
    """Train on the set's normal images and work out every figure on its test images.

    Args:
        images: What to train on and to judge.
        line: Network, training and target.
        settings: What one file may cost, whether to judge with each head alone, and where pictures are written.
        progress: Shows what is going on.
        on_epoch: Told about every epoch.

    Returns:
        The keys of `docs/evaluation.md`, ready for JSON.

    Raises:
        TooFewNormalImagesError: If there are too few normal images for the target.
        ConfigurationError: If the ignore mask or the region of interest does not fit the images.
    """
    limits = settings.limits
    line, ignored = _fitting(line, images.train, limits)
    train, unreadable = _read(images.train, line.model, limits, progress)
    line = _affordable(line, len(train))
    model = fit_model(np.stack(list(train.values())), _digests(train), line, on_epoch=on_epoch, ignored=ignored)
    answers = _judge_all(images, model, limits, progress)
    threshold = model.threshold.value
    result = {
        "set": images.name,
        "seed": line.training.seed,
        **_figures(answers.judged, threshold),
        "per_defect_type": _by_type(answers.judged, threshold),
        "train_seconds": model.train_seconds,
        "images_per_second": len(answers.rows) / answers.seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "num_train": len(train),
        **_left_out(images, [*unreadable, *answers.broken]),
        "outliers": [str(list(train)[position]) for position in model.fit.outliers],
        "chosen": _chosen(line, model),
    }
    if settings.ablation:
        defective = np.array([row[1] != NORMAL for row in answers.rows])
        result["ablation"] = _ablation(model.scorer, answers.pixels, defective)
    if settings.maps_to is not None:
        shown = [(row[0], row[1], *one) for row, one in zip(answers.rows, answers.scores_and_maps, strict=True)]
        result["sample_maps"] = write_sample_maps(settings.maps_to, shown, threshold=threshold, limits=limits)
    log.info("set_evaluated", **{key: result[key] for key in LOGGED if key in result})
    return result


@dataclass(frozen=True)
class _Answers:
    """What a model says of the test images of a set that could be read, and how long it took to read and to judge them.

    Attributes:
        rows: Path, defect type and mask of each.
        pixels: As the network is given them.
    """

    rows: Sequence[tuple[Path, str, Path | None]]
    pixels: Pixels
    scores_and_maps: Sequence[tuple[float, Floats]]
    judged: Sequence[JudgedImage]
    broken: Sequence[Path]
    seconds: float


def _judge_all(images: ImageSet, model: FittedModel, limits: DecodeLimits, progress: Progress) -> _Answers:
    started = time.perf_counter()
    test, broken = _read([path for path, _, _ in images.test], model.scorer.settings, limits, progress)
    pixels = np.stack(list(test.values()))
    scored = model.scorer.score(pixels)
    seconds = time.perf_counter() - started
    rows = [row for row in images.test if row[0] in test]
    scores_and_maps = list(zip(scored.scores.tolist(), scored.maps, strict=True))
    judged = [_judged(row, *one, limits) for row, one in zip(rows, scores_and_maps, strict=True)]
    return _Answers(rows, pixels, scores_and_maps, judged, broken, seconds)


def _left_out(images: ImageSet, unreadable: Sequence[Path]) -> dict[str, Any]:
    """What of a set was not used as it was meant."""
    return {
        "unreadable": [str(path) for path in unreadable],
        "unused_masks": [str(path) for path in images.unused_masks],
        "without_mask": [str(path) for path in images.without_mask],
        "num_held_out": images.num_held_out,
    }


def _fitting(line: Line, normal: Sequence[Path], limits: DecodeLimits) -> tuple[Line, Ignored | None]:
    """Settle from normal images how many tiles an image is cut into, how its pixels are read, and what is ignored."""
    size_px = delivered_px(normal, limits, line.images)
    how_read = settled(line.images, facts_of(normal, limits, line.images))
    line = replace(line, model=replace(with_tiles(line.model, delivered_px=size_px), images=how_read))
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
    defective = np.array([image.kind != NORMAL for image in judged])
    if not defective.any():
        return _false_alarms(scores > threshold)
    figures = image_figures(scores, scores > threshold, defective)
    marked = [(image.anomaly_map, image.mask) for image in judged if image.anomaly_map is not None]
    maps, masks = [pair[0] for pair in marked], [pair[1] for pair in marked if pair[1] is not None]
    pixels = pixel_figures(maps, masks) if any(mask.any() for mask in masks) else None
    return {**_flat(figures), **(asdict(pixels) if pixels else {})}


def _false_alarms(flags: NDArray[np.bool_]) -> dict[str, Any]:
    """What can be said of normal images alone."""
    share, low, high = share_with_interval(int(flags.sum()), len(flags)) or (0.0, 0.0, 1.0)
    return {
        "false_alarm_rate": share,
        "false_alarm_rate_interval_95": [low, high],
        "num_normal": len(flags),
        "num_defective": 0,
    }


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
                images=model.images,
            )
        except UnreadableImageError as error:
            log.warning("image_left_out", path=str(path), problem=str(error))
            unreadable.append(path)
    return pixels, unreadable
