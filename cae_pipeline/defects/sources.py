"""Anomaly sources: what a synthetic defect shows; ten kinds, each as large as the image it is put into."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from cae_pipeline.defects.masks import noise
from cae_pipeline.domain.images import Floats

Draw = Callable[[Floats, Floats, np.random.Generator], Floats]


def draw_source(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """Draw one anomaly source.

    Args:
        image: The image that gets the defect, of even gain, shape `(h, w, c)`, float32.
        other_image: Another normal image of the same shape.
        random: Draws everything.

    Returns:
        The same shape; values may lie outside the range of images.
    """
    source: Floats = SOURCES[int(random.integers(len(SOURCES)))](image, other_image, random)
    return source


def _foreign(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """Another image, turned and enlarged."""
    height, width, channels = image.shape
    turned = np.rot90(other_image, int(random.integers(4)) if height == width else 2 * int(random.integers(2)))
    share = random.uniform(0.3, 1)
    rows, columns = int(share * height), int(share * width)
    top, left = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
    piece = np.ascontiguousarray(turned[top : top + rows, left : left + columns])
    enlarged: Floats = cv2.resize(piece, (width, height))
    return enlarged.reshape(height, width, channels)


def _displaced(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """The same image from somewhere else."""
    return _rolled(image, 0.5, random)


def _shifted(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """The same image from a little aside, as a bent or misplaced part shows."""
    return _rolled(image, 1 / 12, random)


def _shaded(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """Lighter or darker by the same everywhere."""
    change = random.choice([-1, 1]) * np.exp(random.uniform(np.log(0.04), np.log(0.6)))
    shaded: Floats = image + np.float32(change) * _tint(image, random)
    return shaded


def _exposed(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """Lighter or darker in proportion."""
    factor = np.exp(random.choice([-1, 1]) * random.uniform(0.1, 1.5))
    exposed: Floats = image * np.float32(factor)
    return exposed


def _blurred(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    soft: Floats = cv2.GaussianBlur(image, (0, 0), random.uniform(1, 1.5 + 0.05 * min(image.shape[:2])))
    return soft.reshape(image.shape)


def _noisy(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    strength = np.exp(random.uniform(np.log(0.04), np.log(0.4)))
    noisy: Floats = image + random.standard_normal(image.shape, np.float32) * np.float32(strength)
    return noisy


def _textured(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """A texture that no camera took, in place of the image."""
    textured: Floats = image.mean(axis=(0, 1)) + _texture(image, random, random.uniform(0.3, 2))
    return textured


def _overlaid(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """A texture that no camera took, on top of the image."""
    overlaid: Floats = image + _texture(image, random, random.uniform(0.2, 1))
    return overlaid


def _plain(image: Floats, other_image: Floats, random: np.random.Generator) -> Floats:
    """One colour: dark, white, or one that the image has somewhere."""
    height, width = image.shape[:2]
    somewhere = image[int(random.integers(height)), int(random.integers(width))]
    colours = (somewhere, np.full_like(somewhere, random.uniform(0, 0.3)), np.full_like(somewhere, 1))
    return np.broadcast_to(colours[int(random.integers(3))], image.shape)


SOURCES: tuple[Draw, ...] = (
    _foreign,
    _displaced,
    _shifted,
    _shaded,
    _exposed,
    _blurred,
    _noisy,
    _textured,
    _overlaid,
    _plain,
)


def _rolled(image: Floats, share: float, random: np.random.Generator) -> Floats:
    most = max(1, int(share * min(image.shape[:2])))
    steps = random.integers(-most, most + 1, size=2)
    return np.roll(image, tuple(int(step) for step in steps), axis=(0, 1))


def _texture(image: Floats, random: np.random.Generator, strength: float) -> Floats:
    height, width = image.shape[:2]
    kind = int(random.integers(4))
    if kind == 0:
        pattern = noise((height, width), int(random.choice([2, 4, 8, 16, 32])), random)
    elif kind == 1:
        angle, period = random.uniform(0, np.pi), random.uniform(3, min(height, width) / 4)
        rows, columns = np.mgrid[:height, :width]
        pattern = np.sin((columns * np.cos(angle) + rows * np.sin(angle)) * 2 * np.pi / period)
    elif kind == 2:
        grains = random.standard_normal((height, width)).astype(np.float32)
        pattern = cv2.GaussianBlur(grains, (0, 0), random.uniform(0.3, 2))
    else:
        pattern = np.sign(noise((height, width), int(random.choice([4, 8, 16])), random))
    level = np.asarray((pattern - pattern.mean()) / (pattern.std() + 1e-6), np.float32)
    amplitude = np.float32(strength * max(float(image.std()), 0.05))
    scaled: Floats = level[..., None] * amplitude * _tint(image, random)
    return scaled


def _tint(image: Floats, random: np.random.Generator) -> Floats:
    """Share of each channel in a change: the same for all, or a colour; shape `(c,)`."""
    channels = image.shape[2]
    if channels == 1 or random.random() < 0.5:
        return np.ones(channels, np.float32)
    return np.asarray(random.uniform(-1, 1, channels), np.float32)
