"""Bytes → uint8, within limits of bytes, pixels, frames and time.

Files come from outside. Validation opens each in a process of its own making, with a time limit
and a memory limit, so that a file built to hang or to crash a decoder costs one row, not the batch.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import resource
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as DecodeTimeoutError
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from pebble import ProcessExpired, ProcessPool
from PIL import Image, ImageOps, UnidentifiedImageError

from cae_pipeline.domain.facts import ImageFacts, measure
from cae_pipeline.domain.images import Pixels, with_channels
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.errors import UnreadableImageError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
"""What cameras write. Pillow knows fifty more, each with a parser of its own to attack."""
OVERSAMPLING = 2
"""Times the network's size to which a JPEG is decoded at least, before its pixels are averaged."""
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")


@dataclass(frozen=True)
class DecodeLimits:
    """What one file may cost.

    Attributes:
        max_bytes: Size of the file.
        max_pixels: Columns times rows.
        timeout_seconds: Wall time of one decoding.
        max_memory_bytes: Address space of a decoding process.
        num_processes: Decoding processes at once.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000
    timeout_seconds: float = 20.0
    max_memory_bytes: int = 4 * 2**30
    num_processes: int = 2


@dataclass(frozen=True)
class Measured:
    """What became of one file, digested and decoded from one read.

    Attributes:
        facts: What was measured; None if it could not be decoded.
        reason: Why it could not; None if it could.
        detail: What was seen and what was wanted, for people.
        sha256: Of the bytes that were read; empty if reading or decoding did not end.
    """

    facts: ImageFacts | None
    reason: Reason | None = None
    detail: str = ""
    sha256: str = ""


def decode(content: bytes, limits: DecodeLimits, *, enough_px: tuple[int, int] | None = None) -> tuple[Pixels, str]:
    """Decode one image file.

    EXIF rotation is applied, 16-bit greys are scaled to 8 bits, palettes and alpha are resolved
    to colour or grey.

    Args:
        content: Of the file.
        limits: What it may cost.
        enough_px: Rows and columns that suffice: a JPEG may then come out at a half, a quarter or an eighth
            of its size, by leaving out what its transform holds of finer detail, but never smaller than this.

    Returns:
        Pixels, shape `(h, w)` or `(h, w, 3)`, uint8, and Pillow's name of the format as delivered.

    Raises:
        UnreadableImageError: With one of the reasons of `domain.outcome.Reason`.
    """
    if len(content) > limits.max_bytes:
        raise UnreadableImageError(Reason.TOO_LARGE, f"more than the {limits.max_bytes:,} bytes that are decoded")
    try:
        with warnings.catch_warnings():
            # Pillow warns where a header lies about a file; a warning nobody reads is no defence
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                pixels, mode = _pixels(image, limits, enough_px), image.mode
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(Reason.NOT_AN_IMAGE, f"none of {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise UnreadableImageError(Reason.TOO_LARGE, str(error) or "needs more memory than allowed") from error
    except Exception as error:
        # Pillow's decoders raise OSError, ValueError, SyntaxError, TypeError, struct.error and more
        raise UnreadableImageError(_broken(error, content), f"{type(error).__name__}: {error}") from error
    if _stops_early(content):
        raise UnreadableImageError(Reason.TRUNCATED, "the file stops before its end marker")
    return pixels, mode


def read_for_network(content: bytes, limits: DecodeLimits, *, height_px: int, width_px: int, channels: int) -> Pixels:
    """Decode and resize as the network wants it: the same pixels in training and in scoring.

    Returns:
        Shape `(height_px, width_px, channels)`, uint8; area-averaged when shrunk.
    """
    enough_px = (OVERSAMPLING * height_px, OVERSAMPLING * width_px)
    pixels, _ = decode(content, limits, enough_px=enough_px)
    image = with_channels(pixels, channels)
    if image.shape[:2] != (height_px, width_px):
        image = cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return image.reshape(height_px, width_px, channels)


def measure_files(paths: Sequence[Path], limits: DecodeLimits) -> Iterator[Measured]:
    """Measure files in decoding processes, in the order given.

    Nothing in a file can stop this: a file that hangs is `decode_timeout`, one that ends its
    process is `decoder_crashed`, and the next file gets a new process.

    Raises:
        OSError: If a file cannot be read, which says nothing about what is in it.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPool(limits.num_processes, context=context, initializer=_settle_in, initargs=(limits,)) as pool:
        # chunks of one: a time limit and a crash then belong to one file
        results = pool.map(_measure_file, paths, [limits] * len(paths), timeout=limits.timeout_seconds).result()
        for _ in paths:
            try:
                yield next(results)
            except DecodeTimeoutError:
                yield Measured(None, Reason.DECODE_TIMEOUT, f"not decoded within {limits.timeout_seconds:g} s")
            except ProcessExpired as error:
                yield Measured(None, Reason.DECODER_CRASHED, f"the decoder ended with exit code {error.exitcode}")
            except MemoryError:
                yield Measured(None, Reason.TOO_LARGE, "needs more memory than allowed")


def _measure_file(path: Path, limits: DecodeLimits) -> Measured:
    content, sha256 = _read(path, limits)
    try:
        pixels, mode = decode(content, limits)
        return Measured(measure(pixels, mode=mode), sha256=sha256)
    except UnreadableImageError as error:
        return Measured(None, Reason(error.reason), error.detail, sha256)


def _read(path: Path, limits: DecodeLimits) -> tuple[bytes, str]:
    """Read a file once: as many bytes as tell whether it is too large, and the digest of all of them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        content = file.read(limits.max_bytes + 1)
        digest.update(content)
        while more := file.read(2**20):
            digest.update(more)
    return content, digest.hexdigest()


def _settle_in(limits: DecodeLimits) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limits.max_memory_bytes, hard))
    cv2.setNumThreads(1)
    # libtiff and Pillow comment on every oddity of a broken file; its reason code says enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _pixels(image: Image.Image, limits: DecodeLimits, enough_px: tuple[int, int] | None) -> Pixels:
    if image.width * image.height > limits.max_pixels:
        raise UnreadableImageError(
            Reason.TOO_LARGE, f"{image.width}×{image.height} px, at most {limits.max_pixels:,} pixels are decoded"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise UnreadableImageError(Reason.MULTIPLE_FRAMES, f"{image.n_frames} frames, expected one")  # type: ignore[attr-defined]
    if enough_px:
        # the longer side in both directions: the image may yet be turned by its EXIF orientation
        image.draft(None, (max(enough_px), max(enough_px)))
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in SIXTEEN_BITS:
        return _eight_bits(np.asarray(image))
    if image.mode == "F":
        raise UnreadableImageError(Reason.WRONG_MODE, "floating-point pixels have no known range, expected integers")
    wanted = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return np.asarray(image if image.mode == wanted else image.convert(wanted))


def _eight_bits(deep: np.ndarray) -> Pixels:
    """Scale 16-bit greys; Pillow's own convert would saturate everything above 255."""
    if deep.size and (deep.min() < 0 or deep.max() > 65535):
        raise UnreadableImageError(Reason.WRONG_MODE, "32-bit pixels outside 0 … 65535, expected 8 or 16 bits")
    scaled: Pixels = (deep.astype(np.uint32) // 257).astype(np.uint8)
    return scaled


def _broken(error: Exception, content: bytes) -> Reason:
    text = str(error).lower()
    if "truncated" in text or "unexpected end" in text or isinstance(error, EOFError):
        return Reason.TRUNCATED
    return Reason.TRUNCATED if _stops_early(content) else Reason.UNREADABLE


def _stops_early(content: bytes) -> bool:
    """Tell whether a PNG or JPEG lacks the marker that ends it; decoders forgive that where no pixel is lost."""
    ends = {b"\x89PNG\r\n\x1a\n": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
    return any(content.startswith(start) and end not in content for start, end in ends.items())
