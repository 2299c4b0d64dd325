"""Camera faults, made from pictures of a healthy camera."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from PIL import Image

from cae_pipeline.domain.images import Pixels

DEFOCUS_SHARES = (0.02, 0.04)
"""Radius of the blur's disk, as a share of the shorter side."""


@dataclass(frozen=True)
class Fault:
    """One fault of a camera.

    Attributes:
        names: Reasons any of which names it rightly.
        make: From a picture to what the broken camera delivers.
    """

    names: frozenset[str]
    make: Callable[[Pixels, Generator], Pixels]


def black(image: Pixels, random: Generator) -> Pixels:
    """Cover the lens: what is left is the noise of the sensor."""
    return _clipped(random.normal(2, 1, image.shape))


def saturated(image: Pixels, random: Generator) -> Pixels:
    """Expose far too long."""
    return _clipped(image.astype(np.float32) + random.normal(240, 1, image.shape))


def defocus(share: float) -> Callable[[Pixels, Generator], Pixels]:
    """Blur by a disk of a radius, a share of the shorter side."""

    def blur(image: Pixels, _: Generator) -> Pixels:
        radius = max(1.0, share * min(image.shape[:2]))
        rows, columns = np.mgrid[-int(radius + 1) : int(radius + 2), -int(radius + 1) : int(radius + 2)]
        disk = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1)
        return np.asarray(cv2.filter2D(image, -1, disk / disk.sum(), borderType=cv2.BORDER_REFLECT), np.uint8)

    return blur


def half_frame(image: Pixels, random: Generator) -> Pixels:
    """Lose one half, which arrives as one grey value."""
    half, (height, width) = image.copy(), image.shape[:2]
    value = int(random.choice([0, 128, 255]))
    sides = (np.s_[: height // 2], np.s_[height // 2 :], np.s_[:, : width // 2], np.s_[:, width // 2 :])
    half[sides[random.integers(4)]] = value
    return half


def rotated(image: Pixels, random: Generator) -> Pixels:
    """Turn the camera by a quarter, to either side."""
    return np.ascontiguousarray(np.rot90(image, random.choice([1, 3])))


def other_mode(image: Pixels, _: Generator) -> Pixels:
    """Deliver colour instead of grey, or grey instead of colour."""
    if image.ndim == 3:
        return np.asarray(Image.fromarray(image).convert("L"))
    return np.stack([image, (image * 0.95).astype(np.uint8), (image * 0.9).astype(np.uint8)], axis=2)


FAULTS: Mapping[str, Fault] = {
    "black": Fault(frozenset({"too_dark", "blank"}), black),
    "saturated": Fault(frozenset({"too_bright", "blank"}), saturated),
    **{f"defocus, {share:.0%}": Fault(frozenset({"blurred"}), defocus(share)) for share in DEFOCUS_SHARES},
    "half frame": Fault(frozenset({"half_frame"}), half_frame),
    "rotated by 90°": Fault(frozenset({"rotated", "wrong_size"}), rotated),
    "colour and grey mixed up": Fault(frozenset({"wrong_mode"}), other_mode),
}
STUCK_NAMES = frozenset({"stuck_frame"})
ANOTHER_PART_NAMES = frozenset({"unlike_line"})


def another_part(image: Pixels, like: Pixels) -> Pixels:
    """Bring a picture of another line to the size and the mode of this one."""
    picture = Image.fromarray(image).convert("RGB" if like.ndim == 3 else "L")
    return np.asarray(picture.resize((like.shape[1], like.shape[0]), Image.Resampling.BILINEAR))


def stuck_files(image: Pixels, frames: int, random: Generator) -> Mapping[str, list[tuple[str, bytes]]]:
    """Deliver one picture again and again; kind → suffix and bytes of each frame."""
    same = [("png", encoded(image, "PNG"))] * frames
    again = [("jpg", encoded(image, "JPEG", quality=80 + number % 15)) for number in range(frames)]
    noisy = [
        ("png", encoded(_clipped(image + random.normal(0, 1, image.shape)), "PNG", compress_level=1))
        for _ in range(frames)
    ]
    return {"the same bytes": same, "encoded again": again, "slight noise": noisy}


def encoded(image: Pixels, kind: str, **options: int) -> bytes:
    """Write a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def _clipped(values: np.ndarray) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
