"""A folder of images in the layout of MVTec AD."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from cae_pipeline.adapters.decoding import AS_STATED, DecodeLimits, decode, measure_content
from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.image_settings import MIN_NORMAL_IMAGES, ImageSettings
from cae_pipeline.errors import ConfigurationError, UnreadableImageError

NORMAL = "good"


LAYOUT = (
    "Expected the layout of MVTec AD: train/good, and where there are any test/good, test/<defect type> and "
    "ground_truth/<defect type>; or a folder of normal images alone."
)
HELD_OUT_EVERY = 5
"""Where no normal images are set aside for the test, every fifth of the training images is, by name."""
_WORDS = "mask|masks|gt|ground_?truth|label|seg|segmentation"
_MASK_WORD = re.compile(rf"[_\-. ]({_WORDS})$|^({_WORDS})[_\-. ]", re.IGNORECASE)
_IMAGE_SUFFIXES = frozenset(
    [".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm", ".pnm", ".gif", ".jp2"]
)


@dataclass(frozen=True)
class ImageSet:
    """A folder in the layout of MVTec AD.

    Attributes:
        train: Normal images.
        test: `(path, defect type, mask)`; the type is "good" and the mask None where there is no defect.
        unused_masks: Files of ground_truth that belong to no image.
        num_held_out: Normal images that are tested because they were taken from those in train/good.
    """

    name: str
    train: tuple[Path, ...]
    test: tuple[tuple[Path, str, Path | None], ...]
    unused_masks: tuple[Path, ...] = ()
    num_held_out: int = 0

    @property
    def has_defects(self) -> bool:
        """Whether any test image is defective."""
        return any(kind != NORMAL for _, kind, _ in self.test)

    @property
    def without_mask(self) -> tuple[Path, ...]:
        """Defective images that no mask was found for, of types that have masks."""
        masked = {kind for _, kind, mask in self.test if mask}
        return tuple(path for path, kind, mask in self.test if kind in masked and mask is None)


def find_image_set(folder: Path) -> ImageSet:
    """List `train/good`, `test/<type>` and `ground_truth/<type>`, or a folder of normal images.

    A mask is found by the name of its image without suffix, capital letters aside, with or without a word such as
    `_mask` behind or before it.

    Raises:
        ConfigurationError: If there are no normal images to train on; says what was expected.
    """
    is_flat = not (folder / "train").is_dir()
    train = _images(folder) if is_flat else _files(folder / "train" / NORMAL)
    if not train:
        raise ConfigurationError(f"{folder} has no images in {'it' if is_flat else 'train/good'}. {LAYOUT}")
    test_folder = folder / "test"
    kinds = sorted(entry.name for entry in test_folder.iterdir() if entry.is_dir()) if test_folder.is_dir() else []
    masks = {kind: _masks_by_stem(folder / "ground_truth" / kind) for kind in kinds}
    test = [
        (path, kind, masks[kind].get(path.stem.lower()) if kind != NORMAL else None)
        for kind in kinds
        for path in _files(test_folder / kind)
    ]
    held_out = [] if any(kind == NORMAL for _, kind, _ in test) else train[::HELD_OUT_EVERY]
    used = {mask for _, _, mask in test}
    unused = [path for path in sorted((folder / "ground_truth").rglob("*")) if path.is_file() and path not in used]
    return ImageSet(
        folder.resolve().name,
        tuple(path for path in train if path not in held_out),
        (*((path, NORMAL, None) for path in held_out), *test),
        tuple(path for path in unused if not path.name.startswith(".")),
        len(held_out),
    )


def _masks_by_stem(folder: Path) -> dict[str, Path]:
    """Masks by the name of the image they belong to; `<name>_mask` goes before all other spellings."""
    exact = {path.stem.lower(): path for path in _files(folder)}
    loose = {_MASK_WORD.sub("", stem): path for stem, path in exact.items()}
    named = {stem.removesuffix("_mask"): path for stem, path in exact.items() if stem.endswith("_mask")}
    return {**loose, **exact, **named}


def _images(folder: Path) -> list[Path]:
    return [path for path in _files(folder) if path.suffix.lower() in _IMAGE_SUFFIXES]


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

    Raises:
        ConfigurationError: If there are no defective images.
    """
    defective = [row for row in images.test if row[1] != NORMAL]
    if not defective:
        raise ConfigurationError(f"--contamination hides defective images, and {images.name} has none in test/")
    count = min(len(defective) // 2, round(share / (1 - share) * len(images.train)))
    chosen = np.random.default_rng(seed).choice(len(defective), count, replace=False)
    hidden = {defective[int(index)][0] for index in chosen}
    kept = tuple(row for row in images.test if row[0] not in hidden)
    return replace(images, train=(*images.train, *sorted(hidden)), test=kept), tuple(sorted(hidden))


def _files(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        if folder.is_dir()
        else []
    )
