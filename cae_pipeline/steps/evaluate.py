"""Train on and judge anyone's folder of images, over the same path as the pipeline."""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import structlog
from numpy.typing import NDArray

from cae_pipeline.adapters.decoding import DecodeLimits, decode, read_for_network
from cae_pipeline.core.convolution import describe
from cae_pipeline.core.evaluation import ImageFigures, image_figures, pixel_figures
from cae_pipeline.core.images import Floats, Pixels
from cae_pipeline.core.line import AutoencoderSettings, Line
from cae_pipeline.errors import CaeError, UnreadableImageError
from cae_pipeline.model.training import OnEpoch
from cae_pipeline.steps.fit import FittedModel, fit_model
from cae_pipeline.steps.services import Progress

log = structlog.get_logger()

PIXEL_FIGURES_MAX_PX = 512
"""Maps are compared with masks at the delivered size, but at most this many pixels on the longer side."""
NORMAL = "good"


@dataclass(frozen=True)
class ImageSet:
    """A folder in the layout of MVTec AD.

    Attributes:
        train: Normal images.
        test: `(path, defect type, mask)`; the type is "good" and the mask None where there is no defect.
    """

    name: str
    train: tuple[Path, ...]
    test: tuple[tuple[Path, str, Path | None], ...]


def find_image_set(folder: Path) -> ImageSet:
    """List `train/good`, `test/<type>` and `ground_truth/<type>/*_mask.png`.

    Raises:
        CaeError: If a part is missing; says which.
    """
    train = _files(folder / "train" / NORMAL)
    kinds = (
        sorted(entry.name for entry in (folder / "test").iterdir() if entry.is_dir())
        if (folder / "test").is_dir()
        else []
    )
    test = [(path, kind, _mask(folder, kind, path)) for kind in kinds for path in _files(folder / "test" / kind)]
    for what, found in (
        ("train/good", train),
        ("test/good", NORMAL in kinds),
        ("test/<defect type>", set(kinds) - {NORMAL}),
    ):
        if not found:
            raise CaeError(
                f"{folder} has no images in {what}. Expected the layout of MVTec AD: train/good, test/good, "
                "test/<defect type>, and ground_truth/<defect type>/*_mask.png where there are masks."
            )
    return ImageSet(folder.resolve().name, tuple(train), tuple(test))


def evaluate_set(
    images: ImageSet, line: Line, limits: DecodeLimits, *, progress: Progress, on_epoch: OnEpoch
) -> dict[str, Any]:
    """Train on the set's normal images and work out every figure on its test images.

    Returns:
        The keys of `docs/evaluation.md`, ready for JSON.

    Raises:
        TooFewNormalImagesError: If there are too few normal images for the target.
    """
    train, unreadable = _read(images.train, line.model, limits, progress)
    ids = [hashlib.sha256(path.read_bytes()).hexdigest() for path in train]
    model = fit_model(np.stack(list(train.values())), ids, line, on_epoch=on_epoch)
    started = time.perf_counter()
    test, broken = _read([path for path, _, _ in images.test], line.model, limits, progress)
    judged = model.scorer.score(np.stack(list(test.values())))
    seconds = time.perf_counter() - started
    rows = [row for row in images.test if row[0] in test]
    kinds = np.array([kind for _, kind, _ in rows])
    figures = image_figures(judged.scores, judged.scores > model.threshold.value, kinds != NORMAL)
    result = {
        "set": images.name,
        "seed": line.training.seed,
        **_flat(figures),
        **_pixel_part(rows, judged.maps, kinds, limits, only=None),
        "per_defect_type": {
            str(kind): _of_type(str(kind), rows, judged.scores, judged.maps, kinds, model, limits)
            for kind in sorted(set(kinds) - {NORMAL})
        },
        "train_seconds": model.fitted.train_seconds,
        "images_per_second": len(test) / seconds,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "num_train": len(train),
        "unreadable": [str(path) for path in (*unreadable, *broken)],
        "chosen": _chosen(line, model),
    }
    log.info("set_evaluated", **{key: result[key] for key in ("set", "seed", "image_auroc", "f1", "false_alarm_rate")})
    return result


def _of_type(
    kind: str,
    rows: Sequence[tuple[Path, str, Path | None]],
    scores: NDArray[np.float64],
    maps: Floats,
    kinds: NDArray[np.str_],
    model: FittedModel,
    limits: DecodeLimits,
) -> dict[str, Any]:
    chosen = (kinds == kind) | (kinds == NORMAL)
    figures = image_figures(scores[chosen], scores[chosen] > model.threshold.value, kinds[chosen] != NORMAL)
    return {
        "num_images": figures.num_defective,
        "image_auroc": figures.image_auroc,
        "average_precision": figures.average_precision,
        "f1": figures.f1,
        "detected": float((scores[kinds == kind] > model.threshold.value).mean()),
        **_pixel_part(rows, maps, kinds, limits, only=kind),
    }


def _pixel_part(
    rows: Sequence[tuple[Path, str, Path | None]],
    maps: Floats,
    kinds: NDArray[np.str_],
    limits: DecodeLimits,
    *,
    only: str | None,
) -> dict[str, float]:
    """Pixel figures over normal images and those with a mask that marks something; none without masks."""
    large, masks = [], []
    for (path, kind, mask_path), anomaly_map in zip(rows, maps, strict=True):
        if kind == NORMAL:
            height, width = _shape(path, limits)
            mask = np.zeros((height, width), dtype=bool)
        elif mask_path is not None and only in (None, kind):
            mask = decode(mask_path.read_bytes(), limits)[0].reshape(_shape(mask_path, limits) + (-1,)).max(axis=2) > 0
            if not mask.any():
                continue
        else:
            continue
        scale = min(1.0, PIXEL_FIGURES_MAX_PX / max(mask.shape))
        size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
        masks.append(cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)
        large.append(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_LINEAR))
    if not any(mask.any() for mask in masks):
        return {}
    figures = pixel_figures(large, masks)
    return asdict(figures) if figures else {}


def _flat(figures: ImageFigures) -> dict[str, Any]:
    flat = asdict(figures)
    interval = [flat.pop("false_alarm_low"), flat.pop("false_alarm_high")]
    return {**flat, "false_alarm_rate_interval_95": interval}


def _chosen(line: Line, model: FittedModel) -> dict[str, Any]:
    return {
        "model": asdict(line.model),
        "training": asdict(line.training),
        "num_parameters": sum(layer.num_parameters for layer in describe(line.model)),
        "epochs": model.fitted.epochs,
        "best_epoch": model.fitted.best_epoch,
        "threshold": asdict(model.threshold),
        "synthetic_auroc": model.synthetic_auroc,
    }


def channels_of(paths: Sequence[Path], limits: DecodeLimits) -> int:
    """3 if any of some images shows colour, else 1; a grey image saved as RGB has none."""
    for path in paths[:20]:
        try:
            pixels, _ = decode(path.read_bytes(), limits)
        except UnreadableImageError:
            continue
        if pixels.ndim == 3 and int(np.ptp(pixels.astype(np.int16), axis=2).max()) > 16:
            return 3
    return 1


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
                height_px=model.height_px,
                width_px=model.width_px,
                channels=model.channels,
            )
        except UnreadableImageError as error:
            log.warning("image_left_out", path=str(path), problem=str(error))
            unreadable.append(path)
    return pixels, unreadable


def _shape(path: Path, limits: DecodeLimits) -> tuple[int, int]:
    height, width = decode(path.read_bytes(), limits)[0].shape[:2]
    return height, width


def _files(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        if folder.is_dir()
        else []
    )


def _mask(folder: Path, kind: str, image: Path) -> Path | None:
    mask = folder / "ground_truth" / kind / f"{image.stem}_mask.png"
    return mask if mask.is_file() else None
