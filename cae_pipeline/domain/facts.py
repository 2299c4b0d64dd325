"""What is measured of an image before anyone judges it.

Each fact is defined once, as a field of `ImageFacts`: its type, what it means, how it is measured and whether drift
watches it. The columns of the tables, the table that expectations are held against and the list that drift watches
are all derived from these fields. A new fact needs a field here, a migration that adds its column to the results
database, and a row in `docs/results.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cae_pipeline.domain.texture import longest_repeat, mean_cells, texture_of

HASH_SIDE = 16
"""Rows and columns of the difference hash; 256 bits."""
EIGHT_BITS = 8
"""Bits per sample of most images there are."""
RED, BLUE = 0, 2
"""Positions of the colours in an image's last axis."""


@dataclass(frozen=True)
class DecodedImage:
    """One decoded image, with the greys that most facts are measured on.

    Attributes:
        pixels: Shape `(h, w)` or `(h, w, c)`, uint8, at least 1 px each way.
        mode: Pillow's name of the pixel format as delivered, such as `"L"` or `"RGB"`.
        bit_depth: Bits per sample as delivered.
        used_bits: Bits that the highest sample needs, where the file does not say how many of its 16 count.
    """

    pixels: NDArray[np.uint8]
    mode: str
    bit_depth: int = EIGHT_BITS
    used_bits: int | None = None

    @cached_property
    def grey(self) -> NDArray[np.float32]:
        """Mean of the colours, shape `(h, w)`, float32 in [0, 255]."""
        return to_grey(self.pixels)

    @cached_property
    def scaled(self) -> NDArray[np.float32]:
        """The grey values, shape `(h, w)`, float32 in [0, 1]."""
        return self.grey / np.float32(255)

    @cached_property
    def colour_sums(self) -> list[int]:
        """Sums of the first three channels of a colour image."""
        return [int(self.pixels[..., channel].sum(dtype=np.uint64)) for channel in range(3)]


def to_grey(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Average the colours: `(h, w[, c])` uint8 to `(h, w)` float32 in [0, 255]."""
    grey = image if image.ndim == 2 else image.mean(axis=2, dtype=np.float32)
    return grey.astype(np.float32)


def _laplacian_variance(image: DecodedImage) -> float:
    scaled = image.scaled
    if min(scaled.shape) < 3:
        return 0.0
    inner = scaled[1:-1, 1:-1]
    laplacian = scaled[:-2, 1:-1] + scaled[2:, 1:-1] + scaled[1:-1, :-2] + scaled[1:-1, 2:] - 4 * inner
    return float(laplacian.var())


def _entropy(image: DecodedImage) -> float:
    shares = np.bincount(image.grey.astype(np.uint8).ravel(), minlength=256) / image.grey.size
    present = shares[shares > 0]
    # + 0.0 turns the -0.0 of a constant image into 0.0
    return float(-(present * np.log2(present)).sum()) + 0.0


def _colour_share(image: DecodedImage, channel: int) -> float:
    if image.pixels.ndim == 2 or image.pixels.shape[2] < 3:
        return 1 / 3
    sums = image.colour_sums
    return sums[channel] / sum(sums) if any(sums) else 1 / 3


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
    cells = mean_cells(grey, rows=HASH_SIDE, columns=HASH_SIDE + 1)
    bits = cells[:, 1:] > cells[:, :-1]
    return np.packbits(bits).tobytes().hex()


def pixel_digest(pixels: NDArray[np.uint8]) -> str:
    """Digest the shape and the decoded pixels: equal for the same picture in another file; 16 hexadecimal digits."""
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Fact:
    """How one property of an image is measured, and what others must know to keep and to show it.

    Attributes:
        measure: Works the property out; returns the type of the field of `ImageFacts`.
        meaning: What people read beside its name: what it is, its range or unit.
        is_watched: Whether drift compares a night's values with those of the training; for numbers only.
        max_length: Of a text, in characters, as the results table holds it; None for numbers.
    """

    measure: Callable[[DecodedImage], Any]
    meaning: str
    is_watched: bool = False
    max_length: int | None = None


def _fact(
    measure_it: Callable[[DecodedImage], Any],
    meaning: str,
    *,
    is_watched: bool = False,
    max_length: int | None = None,
    default: Any = MISSING,
) -> Any:
    return field(default=default, metadata={"fact": Fact(measure_it, meaning, is_watched, max_length)})


def _later_fact(measure_it: Callable[[DecodedImage], Any], meaning: str, *, max_length: int | None = None) -> Any:
    """Describe a fact that rows of earlier versions do not have: there it is None."""
    return field(default=None, metadata={"fact": Fact(measure_it, meaning, max_length=max_length)})


@dataclass(frozen=True)
class ImageFacts:
    """Measured properties of one decoded image; `FACTS` says of each what it is.

    Source:
        Sharpness: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """

    width_px: int = _fact(lambda image: int(image.pixels.shape[1]), "columns of the image")
    height_px: int = _fact(lambda image: int(image.pixels.shape[0]), "rows of the image")
    mode: str = _fact(lambda image: image.mode, "Pillow's name of the pixel format as delivered", max_length=16)
    brightness: float = _fact(lambda image: float(image.scaled.mean()), "mean grey value, 0 to 1", is_watched=True)
    contrast: float = _fact(
        lambda image: float(image.scaled.std()), "standard deviation of the grey values, 0 to 0.5", is_watched=True
    )
    sharpness: float = _fact(
        _laplacian_variance, "variance of the 4-neighbour Laplacian of the grey values, from 0 up", is_watched=True
    )
    entropy: float = _fact(_entropy, "Shannon entropy of the grey values in bits, 0 to 8", is_watched=True)
    difference_hash: str = _fact(
        lambda image: difference_hash(image.grey), "256 bits of what the picture looks like, in hex", max_length=64
    )
    red_share: float = _fact(
        lambda image: _colour_share(image, RED), "red of all colour, 0 to 1; a third without colour", is_watched=True
    )
    blue_share: float = _fact(
        lambda image: _colour_share(image, BLUE), "blue of all colour, 0 to 1; a third without colour", is_watched=True
    )
    bit_depth: int | None = _fact(
        lambda image: image.bit_depth, "bits per sample as delivered; 32 for floats", default=EIGHT_BITS
    )
    used_bits: int | None = _fact(
        lambda image: image.used_bits,
        "bits of 16 that the highest sample needs, where the file does not say its depth",
        default=None,
    )
    repeated_share: float | None = _later_fact(
        lambda image: longest_repeat(image.pixels), "longest run of rows or columns that repeat their neighbour, 0 to 1"
    )
    texture: str | None = _later_fact(
        lambda image: texture_of(image.grey),
        "how steep the greys are at four scales, across and down, and their spread",
        max_length=34,
    )
    pixel_digest: str | None = _later_fact(
        lambda image: pixel_digest(image.pixels), "digest of the decoded pixels, in hex", max_length=16
    )


FACTS: Mapping[str, Fact] = MappingProxyType({one.name: one.metadata["fact"] for one in fields(ImageFacts)})
"""All facts by name, in their order."""
FACT_TYPES: Mapping[str, type] = MappingProxyType(
    {name: (get_args(kind) or (kind,))[0] for name, kind in get_type_hints(ImageFacts).items()}
)
"""Name → int, float or str, also of a fact that an image may lack."""
WATCHED_FACTS = tuple(name for name, fact in FACTS.items() if fact.is_watched)
"""Names of the facts that drift watches."""


def measure(
    image: NDArray[np.uint8], *, mode: str, bit_depth: int = EIGHT_BITS, used_bits: int | None = None
) -> ImageFacts:
    """Measure one decoded image.

    Args:
        image: Shape `(h, w)` or `(h, w, c)`, uint8, at least 1 px each way.
        mode: Pillow's name of the pixel format as delivered.
        bit_depth: Bits per sample as delivered.
        used_bits: Bits that the highest sample needs; None where the file says how many count.
    """
    decoded = DecodedImage(image, mode, bit_depth, used_bits)
    return ImageFacts(**{name: fact.measure(decoded) for name, fact in FACTS.items()})


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
