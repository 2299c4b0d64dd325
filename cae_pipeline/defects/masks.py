"""Anomaly masks: where a synthetic defect lies, as opacity in [0, 1]; ten kinds of shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.domain.images import Floats, Pixels

Size = tuple[int, ...]
Draw = Callable[[Size, np.random.Generator], Floats]
FRACTION_BITS = 4
"""OpenCV takes points in sixteenths of a pixel, so that thin lines lie between pixels too."""


def draw_mask(size: Size, random: np.random.Generator) -> Floats:
    """Draw one anomaly mask that covers something, sharp or soft at its edge.

    Args:
        size: Rows and columns.
        random: Draws everything.

    Returns:
        Shape `size`, float32 in [0, 1].
    """
    opacity = MASKS[int(random.integers(len(MASKS)))](size, random)
    if random.random() < 0.4:
        opacity = cv2.GaussianBlur(opacity, (0, 0), random.uniform(0.5, 0.6 + 0.02 * min(size)))
    return opacity if opacity.max() > 0.3 else draw_mask(size, random)


def noise(size: Size, cells: int, random: np.random.Generator) -> Floats:
    """Smooth random hills in three octaves, as Perlin's; shape `size`, zero mean."""
    hills = np.zeros(size, np.float32)
    for octave in range(3):
        points = random.standard_normal((cells * 2**octave + 1,) * 2).astype(np.float32)
        hills += cv2.resize(points, size[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    return hills


def _islands(size: Size, random: np.random.Generator) -> Floats:
    """The hilltops of noise near one place."""
    hills = noise(size, int(random.choice([2, 4, 8])), random)
    above = hills > np.quantile(hills, random.uniform(0.8, 0.98))
    rows, columns = np.mgrid[: size[0], : size[1]]
    distance = np.hypot(rows - random.uniform(0, size[0]), columns - random.uniform(0, size[1]))
    return np.asarray(above & (distance < min(size) * random.uniform(0.1, 0.5)), np.float32)


def _rectangle(size: Size, random: np.random.Generator) -> Floats:
    sides = min(size) * np.exp(random.uniform(np.log(0.04), np.log(0.35), 2))
    return _box(size, sides, random)


def _scar(size: Size, random: np.random.Generator) -> Floats:
    """A long thin rectangle."""
    return _box(size, min(size) * np.array([random.uniform(0.01, 0.05), random.uniform(0.08, 0.4)]), random)


def _crack(size: Size, random: np.random.Generator) -> Floats:
    """A jagged line that may branch."""
    return _lines(size, random, branches=int(random.integers(1, 4)), jitter=float(random.choice([0.05, 0.3, 0.6])))


def _scratch(size: Size, random: np.random.Generator) -> Floats:
    """A nearly straight thin line."""
    return _lines(size, random, branches=1, jitter=0.03)


def _ellipse(size: Size, random: np.random.Generator) -> Floats:
    canvas = _canvas(size)
    stretch = np.exp(random.uniform(-0.5, 0.5))
    axes = np.maximum(2.0, 2 * _radius(size, random) * np.array([stretch, 1 / stretch]))
    centre = _point(size, random)
    box = ((float(centre[0]), float(centre[1])), (float(axes[0]), float(axes[1])), float(random.uniform(0, 180)))
    cv2.ellipse(canvas, box, 255, -1, cv2.LINE_AA)
    return _opacity(canvas)


def _splinter(size: Size, random: np.random.Generator) -> Floats:
    """A polygon with corners of random number and length."""
    corners = int(random.integers(5, 14))
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    lengths = _radius(size, random) * random.uniform(0.5, 1.3, corners)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * lengths[:, None] + _point(size, random)
    canvas = _canvas(size)
    cv2.fillPoly(canvas, [_sixteenths(points)], 255, cv2.LINE_AA, FRACTION_BITS)
    return _opacity(canvas)


def _missing_edge(size: Size, random: np.random.Generator) -> Floats:
    """A piece at the border, along a wavy line."""
    angle = random.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[: size[0], : size[1]]
    outward = columns * np.cos(angle) + rows * np.sin(angle)
    wave = noise(size, 4, random) * 0.02 * min(size) * random.uniform(0, 1)
    return np.asarray(outward + wave > np.quantile(outward, random.uniform(0.9, 0.995)), np.float32)


def _specks(size: Size, random: np.random.Generator) -> Floats:
    """A handful of dots around one place."""
    canvas, centre = _canvas(size), _point(size, random)
    for _ in range(int(random.integers(1, 12))):
        place = (centre + random.normal(0, 0.08 * min(size), 2)).astype(int)
        cv2.circle(canvas, (int(place[0]), int(place[1])), int(random.integers(0, max(2, min(size) // 50))), 255, -1)
    return _opacity(canvas)


# islands twice: they take the most various forms
MASKS: tuple[Draw, ...] = (
    _islands,
    _islands,
    _rectangle,
    _scar,
    _crack,
    _scratch,
    _ellipse,
    _splinter,
    _missing_edge,
    _specks,
)


def _box(size: Size, sides: NDArray[np.float64], random: np.random.Generator) -> Floats:
    angle = float(random.uniform(0, 180) if random.random() < 0.6 else random.choice([0, 90]))
    centre = _point(size, random)
    corners = cv2.boxPoints(((float(centre[0]), float(centre[1])), (float(sides[0]), float(sides[1])), angle))
    canvas = _canvas(size)
    cv2.fillPoly(canvas, [_sixteenths(corners)], 255, cv2.LINE_AA, FRACTION_BITS)
    return _opacity(canvas)


def _lines(size: Size, random: np.random.Generator, *, branches: int, jitter: float) -> Floats:
    canvas, start = _canvas(size), _point(size, random)
    for _ in range(branches):
        steps = int(random.integers(3, 16))
        directions = random.uniform(0, 2 * np.pi) + random.normal(0, jitter, steps).cumsum()
        stride = random.uniform(0.1, 0.8) * min(size) / steps
        moves = np.stack([np.cos(directions), np.sin(directions)], axis=1) * stride
        points = np.concatenate([start[None], start + moves.cumsum(axis=0)])
        thickness = int(random.choice([1, 1, 1, 2, 3])) * max(1, min(size) // 128)
        cv2.polylines(canvas, [_sixteenths(points)], False, 255, thickness, cv2.LINE_AA, FRACTION_BITS)
        start = points[int(random.integers(len(points)))]
    return _opacity(canvas)


def _radius(size: Size, random: np.random.Generator) -> float:
    return float(min(size) * np.exp(random.uniform(np.log(0.015), np.log(0.2))))


def _point(size: Size, random: np.random.Generator) -> Floats:
    return random.uniform(0, size[::-1]).astype(np.float32)


def _sixteenths(points: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    return np.asarray(np.rint(points * 2**FRACTION_BITS), np.int32)


def _canvas(size: Size) -> Pixels:
    return np.zeros(size, np.uint8)


def _opacity(canvas: Pixels) -> Floats:
    return canvas.astype(np.float32) / np.float32(255)
