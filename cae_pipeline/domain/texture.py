"""What a picture is made of, whatever its brightness: how steep its greys are, across and down, fine and coarse.

A picture turned by a quarter has the same steepnesses with across and down exchanged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GRID = 64
"""Rows and columns of the finest grid of mean grey values that steepness is measured on."""
NUM_SCALES = 4
"""Grids, each with half the rows and columns of the one before."""
STEPS_PER_OCTAVE = 20
"""Steps in which a steepness is kept for each doubling: 3.5 % each."""
FLOOR = 0.5
"""Grey values of 255 that are added to each number: less is noise, and its logarithm must be finite."""
NUM_STEEPNESSES = 4 * NUM_SCALES
_LOWEST = -1.0


def mean_cells(grey: NDArray[np.float32], *, rows: int, columns: int) -> NDArray[np.float32]:
    """Average the grey values of each cell of a grid; `(h, w)` float32 to `(rows, columns)` float32."""
    height, width = grey.shape
    top = np.minimum(np.arange(rows) * height // rows, height - 1)
    left = np.minimum(np.arange(columns) * width // columns, width - 1)
    # a cell holds at least one row and one column, where two starts coincide; reduceat does the same for columns.
    # Row by row it would be ten times slower
    ends = np.maximum(np.append(top[1:], height), top + 1)
    bands = np.stack([grey[start:end].sum(axis=0) for start, end in zip(top.tolist(), ends.tolist(), strict=True)])
    sums = np.add.reduceat(bands, left, axis=1)
    heights = np.maximum(np.diff(np.append(top, height)), 1)
    widths = np.maximum(np.diff(np.append(left, width)), 1)
    cells: NDArray[np.float32] = sums / np.outer(heights, widths)
    return cells


def texture_of(grey: NDArray[np.float32]) -> str:
    """Measure how steep a picture is at four scales, across and down, and how far its greys spread.

    A steepness is the absolute difference of neighbouring cells. Its median and upper quartile, and the span of the
    middle 80 % of the greys, hardly notice a defect, which covers a small part of the picture.

    Args:
        grey: Shape `(h, w)`, float32 in [0, 255].

    Returns:
        34 hexadecimal digits, one byte for each of 17 numbers, as steps of their binary logarithm: per scale, finest
        first, the median across, the median down, the upper quartile across and the upper quartile down; at last the
        spread.
    """
    cells = mean_cells(grey, rows=GRID, columns=GRID)
    numbers: list[float] = []
    spread = np.partition(cells.ravel(), (cells.size // 10, 9 * cells.size // 10))
    for _ in range(NUM_SCALES):
        across, down = np.abs(np.diff(cells, axis=1)).ravel(), np.abs(np.diff(cells, axis=0)).ravel()
        ranks = (len(across) // 2, 3 * len(across) // 4)
        sorted_there = [np.partition(one, ranks) for one in (across, down)]
        numbers += [float(one[rank]) for rank in ranks for one in sorted_there]
        cells = (cells[::2] + cells[1::2])[:, ::2] + (cells[::2] + cells[1::2])[:, 1::2]
        cells *= np.float32(0.25)
    numbers.append(float(spread[9 * spread.size // 10] - spread[spread.size // 10]))
    steps = (np.log2(np.array(numbers) + FLOOR) - _LOWEST) * STEPS_PER_OCTAVE
    return np.rint(steps).astype(np.uint8).tobytes().hex()


def log_texture(textures: list[str]) -> NDArray[np.float64]:
    """Turn textures into natural logarithms, shape `(n, 17)`, in the order of `texture_of`."""
    steps = np.frombuffer(bytes.fromhex("".join(textures)), dtype=np.uint8).reshape(len(textures), -1)
    logarithms: NDArray[np.float64] = (steps / STEPS_PER_OCTAVE + _LOWEST) * np.log(2)
    return logarithms


def turned(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exchange across and down: what the same pictures turned by a quarter would measure; shape `(n, 17)`."""
    order = np.arange(NUM_STEEPNESSES).reshape(-1, 2)[:, ::-1].ravel()
    return logarithms[:, [*order.tolist(), NUM_STEEPNESSES]]


def longest_repeat(pixels: NDArray[np.uint8]) -> float:
    """Find the longest run of rows, or of columns, that each repeat their neighbour pixel by pixel.

    A frame of which a part never arrived holds such a run: constant, or the last row again and again.

    Args:
        pixels: Shape `(h, w)` or `(h, w, c)`, uint8.

    Returns:
        The run's share of the height or of the width, the larger one; 0 where no neighbours are equal, 1 for a
        constant picture.
    """
    # the first pixels of each row and column tell most of them apart, before the rest is compared
    return max(_longest_run(pixels), _longest_run(np.swapaxes(pixels, 0, 1)))


def _longest_run(pixels: NDArray[np.uint8]) -> float:
    length = len(pixels)
    if length < 2:
        return 0.0
    few = pixels[:, :: max(1, pixels.shape[1] // 8)]
    alike = (few[1:] == few[:-1]).reshape(length - 1, -1).all(axis=1)
    for row in np.flatnonzero(alike):
        alike[row] = np.array_equal(pixels[row], pixels[row + 1])
    edges = np.flatnonzero(np.diff(np.concatenate(([False], alike, [False])).astype(np.int8)))
    longest = int((edges[1::2] - edges[::2]).max(initial=0))
    return (longest + 1) / length if longest else 0.0
