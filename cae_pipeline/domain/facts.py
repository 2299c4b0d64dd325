"""What is measured of an image before anyone judges it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HASH_SIDE = 16
"""Rows and columns of the difference hash; 256 bits."""


@dataclass(frozen=True)
class ImageFacts:
    """Measured properties of one decoded image.

    Attributes:
        width_px: Columns.
        height_px: Rows.
        mode: Pillow's name of the pixel format as delivered, such as `"L"` or `"RGB"`.
        brightness: Mean grey value in [0, 1].
        contrast: Standard deviation of the grey values in [0, 0.5].
        sharpness: Variance of the 4-neighbour Laplacian of the grey values, ≥ 0.
        entropy: Shannon entropy of the grey values in bits, [0, 8].
        difference_hash: 64 hexadecimal digits; see `difference_hash`.
        red_share: Of red, green and blue together, over the whole image, in [0, 1]; a third without colour.
        blue_share: The same of blue.
    """

    width_px: int
    height_px: int
    mode: str
    brightness: float
    contrast: float
    sharpness: float
    entropy: float
    difference_hash: str
    red_share: float
    blue_share: float


def measure(image: NDArray[np.uint8], *, mode: str) -> ImageFacts:
    """Measure one decoded image.

    Args:
        image: Shape `(h, w)` or `(h, w, c)`, uint8, at least 1 px each way.
        mode: Pillow's name of the pixel format as delivered.

    Source:
        Sharpness: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    grey = to_grey(image)
    scaled = grey / np.float32(255)
    shares = np.bincount(grey.astype(np.uint8).ravel(), minlength=256) / grey.size
    present = shares[shares > 0]
    return ImageFacts(
        width_px=int(image.shape[1]),
        height_px=int(image.shape[0]),
        mode=mode,
        brightness=float(scaled.mean()),
        contrast=float(scaled.std()),
        sharpness=_laplacian_variance(scaled),
        # + 0.0 turns the -0.0 of a constant image into 0.0
        entropy=float(-(present * np.log2(present)).sum()) + 0.0,
        difference_hash=difference_hash(grey),
        red_share=_share_of(image, 0),
        blue_share=_share_of(image, 2),
    )


def _share_of(image: NDArray[np.uint8], channel: int) -> float:
    if image.ndim == 2 or image.shape[2] < 3:
        return 1 / 3
    sums = image[..., :3].sum(axis=(0, 1), dtype=np.float64)
    return float(sums[channel] / sums.sum()) if sums.sum() else 1 / 3


def to_grey(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average the colours: `(h, w[, c])` uint8 to `(h, w)` float32 in [0, 255]."""
    grey = image if image.ndim == 2 else image.mean(axis=2, dtype=np.float32)
    return grey.astype(np.float32)


def difference_hash(grey: NDArray[np.float32]) -> str:
    """Hash what the picture looks like: is each cell brighter than its right neighbour?

    Pictures that differ by compression or a little noise differ in few of the 256 bits.

    Args:
        grey: Shape `(h, w)`, float32.

    Returns:
        64 hexadecimal digits.

    Source:
        Krawetz, "Kind of like that", 2013 (dHash).
    """
    cells = _mean_cells(grey, rows=HASH_SIDE, columns=HASH_SIDE + 1)
    bits = cells[:, 1:] > cells[:, :-1]
    return np.packbits(bits).tobytes().hex()


def hash_distances(hashes: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the bits in which each of `hashes` differs from `other`.

    Args:
        hashes: Shape `(n, 32)`, uint8, from `hash_bytes`.
        other: Shape `(32,)`, uint8.

    Returns:
        Shape `(n,)`, each in [0, 256].
    """
    distances: NDArray[np.int64] = np.bitwise_count(hashes ^ other).sum(axis=1, dtype=np.int64)
    return distances


def hash_bytes(hashes: list[str]) -> NDArray[np.uint8]:
    """Turn hexadecimal hashes into rows of bytes, shape `(n, 32)`, uint8."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)


def _mean_cells(grey: NDArray[np.float32], *, rows: int, columns: int) -> NDArray[np.float32]:
    height, width = grey.shape
    top = np.minimum(np.arange(rows) * height // rows, height - 1)
    left = np.minimum(np.arange(columns) * width // columns, width - 1)
    sums = np.add.reduceat(np.add.reduceat(grey, top, axis=0), left, axis=1)
    # reduceat takes a single element where two starts coincide, so a cell holds at least one
    heights = np.maximum(np.diff(np.append(top, height)), 1)
    widths = np.maximum(np.diff(np.append(left, width)), 1)
    cells: NDArray[np.float32] = sums / np.outer(heights, widths)
    return cells


def _laplacian_variance(scaled: NDArray[np.float32]) -> float:
    if min(scaled.shape) < 3:
        return 0.0
    inner = scaled[1:-1, 1:-1]
    laplacian = scaled[:-2, 1:-1] + scaled[2:, 1:-1] + scaled[1:-1, :-2] + scaled[1:-1, 2:] - 4 * inner
    return float(laplacian.var())
