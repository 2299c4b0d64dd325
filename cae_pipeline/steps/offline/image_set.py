"""A folder of images in the layout of MVTec AD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from cae_pipeline.adapters.decoding import AS_STATED, DecodeLimits, decode, measure_content
from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.image_settings import MIN_NORMAL_IMAGES, ImageSettings
from cae_pipeline.errors import CaeError, UnreadableImageError

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


def channels_of(paths: Sequence[Path], limits: DecodeLimits, images: ImageSettings = AS_STATED) -> Literal[1, 3]:
    """3 if any of some images shows colour, else 1; a grey image saved as RGB has none."""
    for path in paths[:20]:
        try:
            pixels, _ = decode(path.read_bytes(), limits, images)
        except UnreadableImageError:
            continue
        if pixels.ndim == 3 and int(np.ptp(pixels.astype(np.int16), axis=2).max()) > 16:
            return 3
    return 1


def delivered_px(paths: Sequence[Path], limits: DecodeLimits, images: ImageSettings = AS_STATED) -> tuple[int, int]:
    """Median rows and columns of some images.

    Raises:
        UnreadableImageError: If none of them can be read.
    """
    sizes = []
    problem: UnreadableImageError | None = None
    for path in paths[:20]:
        try:
            sizes.append(decode(path.read_bytes(), limits, images)[0].shape[:2])
        except UnreadableImageError as error:
            problem = error
    if not sizes and problem is not None:
        raise problem
    height, width = np.median(sizes, axis=0)
    return int(height), int(width)


def facts_of(paths: Sequence[Path], limits: DecodeLimits, images: ImageSettings = AS_STATED) -> list[ImageFacts]:
    """Measure the first of some images, those that can be read: enough of them to teach a bit depth."""
    found = []
    for path in paths[:MIN_NORMAL_IMAGES]:
        try:
            found.append(measure_content(path.read_bytes(), limits, images))
        except UnreadableImageError:
            continue
    return found


def contaminated(images: ImageSet, share: float, *, seed: int) -> tuple[ImageSet, tuple[Path, ...]]:
    """Hide defective test images among the training images, as somebody's mistake would.

    Args:
        images: The set.
        share: Of the training images afterwards, in (0, 0.5).
        seed: Chooses them.

    Returns:
        The set, in which those images are no longer tested, and which they are.
    """
    defective = [row for row in images.test if row[1] != NORMAL]
    count = min(len(defective) // 2, round(share / (1 - share) * len(images.train)))
    chosen = np.random.default_rng(seed).choice(len(defective), count, replace=False)
    hidden = {defective[int(index)][0] for index in chosen}
    kept = tuple(row for row in images.test if row[0] not in hidden)
    return ImageSet(images.name, (*images.train, *sorted(hidden)), kept), tuple(sorted(hidden))


def _files(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        if folder.is_dir()
        else []
    )


def _mask(folder: Path, kind: str, image: Path) -> Path | None:
    mask = folder / "ground_truth" / kind / f"{image.stem}_mask.png"
    return mask if mask.is_file() else None
