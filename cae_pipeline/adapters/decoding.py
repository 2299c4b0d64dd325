"""Bytes → grey levels, within limits of bytes, pixels, frames and time.

Files come from outside. Validation opens each in a process of its own making, with a time limit
and a memory limit, so that a file built to hang or to crash a decoder costs one row, not the batch.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as DecodeTimeoutError
from dataclasses import dataclass
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool
from PIL import Image, UnidentifiedImageError

from cae_pipeline.adapters.samples import FORMATS, Samples, read_samples
from cae_pipeline.concurrency.memory import can_limit_memory, limit_memory
from cae_pipeline.domain.facts import ImageFacts, measure
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.domain.images import Pixels, full_range, to_eight_bits, to_pixels, with_channels
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.errors import UnreadableImageError

START_SECONDS = 20.0
"""So long a decoding process may take to start before nobody waits for it any more."""
AS_STATED = ImageSettings()
"""Nothing is known but what a file says."""
OVERSAMPLING = 2
"""Times the network's size to which a JPEG is decoded at least, before its pixels are averaged."""
FEWEST_BITS = 8
"""A 16-bit image that uses fewer is black, whatever its depth is."""
SMALLEST_MOSAIC_PX = 2
"""Sides below it hold no pattern of colours."""


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


def decode(
    content: bytes,
    limits: DecodeLimits,
    images: ImageSettings = AS_STATED,
    *,
    enough_px: tuple[int, int] | None = None,
) -> tuple[NDArray[np.uint8], str]:
    """Decode one image file for people, and to measure it.

    `docs/formats.md` says of every format and mode what is done.

    Args:
        content: Of the file.
        limits: What it may cost.
        images: What the file itself does not say of its samples.
        enough_px: Rows and columns that suffice: a JPEG may then come out at a half, a quarter or an eighth
            of its size, by leaving out what its transform holds of finer detail, but never smaller than this.

    Returns:
        Pixels, shape `(h, w)` or `(h, w, 3)`, uint8, and Pillow's name of the format as delivered.

    Raises:
        UnreadableImageError: With one of the reasons of `domain.outcome.Reason`.
    """
    samples = _read_samples(content, limits, enough_px=enough_px)
    return to_eight_bits(_grey_levels(samples, images)), samples.mode


def read_for_network(
    content: bytes,
    limits: DecodeLimits,
    *,
    height_px: int,
    width_px: int,
    channels: int,
    images: ImageSettings = AS_STATED,
) -> Pixels:
    """Decode and resize as the network wants it: the same pixels in training and in scoring.

    Returns:
        Shape `(height_px, width_px, channels)`, area-averaged when shrunk; uint16 where `images.network_bits` is 16,
        whatever the file has, else uint8.
    """
    # a reduced JPEG would mix the colours of a mosaic
    enough_px = None if images.bayer_pattern else (OVERSAMPLING * height_px, OVERSAMPLING * width_px)
    pixels = _grey_levels(_read_samples(content, limits, enough_px=enough_px), images)
    if images.network_bits == 16:
        pixels = pixels.astype(np.uint16) * np.uint16(257) if pixels.dtype == np.uint8 else pixels
    else:
        pixels = to_eight_bits(pixels)
    image = with_channels(pixels, channels)
    if image.shape[:2] != (height_px, width_px):
        image = cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return image.reshape(height_px, width_px, channels)


def _read_samples(content: bytes, limits: DecodeLimits, *, enough_px: tuple[int, int] | None = None) -> Samples:
    """Read what stands in a file; whatever is wrong with it becomes a reason."""
    if len(content) > limits.max_bytes:
        raise UnreadableImageError(Reason.TOO_LARGE, f"more than the {limits.max_bytes:,} bytes that are decoded")
    try:
        samples = read_samples(content, max_pixels=limits.max_pixels, enough_px=enough_px)
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
    return samples


def _grey_levels(samples: Samples, images: ImageSettings) -> Pixels:
    """Scale samples to the whole range of uint8 or uint16; uint8 stays as it is."""
    values = samples.values
    if values.dtype.kind == "f":
        levels: Pixels = _from_floats(values, images.float_range)
    elif values.dtype == np.uint16:
        white = samples.white or 2 ** (images.bit_depth or 16) - 1
        levels = full_range(values, white)
        levels = 65535 - levels if samples.is_inverted else levels
    else:
        levels = values
    if images.bayer_pattern and levels.ndim == 2 and min(levels.shape) >= SMALLEST_MOSAIC_PX:
        levels = cv2.cvtColor(levels, getattr(cv2, f"COLOR_Bayer{images.bayer_pattern.upper()}2RGB"))
    return levels


def _from_floats(values: NDArray[np.float32], float_range: tuple[float, float] | None) -> Pixels:
    if float_range is None:
        told = "floating-point pixels have no known range: set float_range = [black, white] in the line's table images"
        raise UnreadableImageError(Reason.WRONG_MODE, told)
    if not np.isfinite(values).all():
        raise UnreadableImageError(Reason.WRONG_MODE, "floating-point pixels that are NaN or infinite")
    black, white = float_range
    return to_pixels(((values.astype(np.float64) - black) / (white - black)).astype(np.float32), np.dtype(np.uint16))


def measure_files(paths: Sequence[Path], limits: DecodeLimits, images: ImageSettings = AS_STATED) -> Iterator[Measured]:
    """Measure files in decoding processes, in the order given.

    Nothing in a file can stop this: a file that hangs is `decode_timeout`, one that ends its
    process is `decoder_crashed`, and the next file gets a new process.

    Raises:
        OSError: If a file cannot be read, which says nothing about what is in it.
    """
    if not can_limit_memory():
        import structlog  # a decoding process imports this module and needs no log

        structlog.get_logger().warning(
            "memory_of_decoders_not_limited",
            advice="this system cannot limit the memory of a process: limits of bytes, pixels and time still hold",
        )
    context = multiprocessing.get_context("spawn")
    started, num_started = context.Semaphore(0), min(limits.num_processes, max(len(paths), 1))
    with ProcessPool(num_started, context=context, initializer=_settle_in, initargs=(limits, started)) as pool:
        # chunks of one: a time limit and a crash then belong to one file
        results = pool.map(
            _measure_file, paths, [limits] * len(paths), [images] * len(paths), timeout=limits.timeout_seconds
        ).result()
        try:
            for _ in paths:
                try:
                    measured = next(results)
                except DecodeTimeoutError:
                    num_started += 1
                    told = f"not decoded within {limits.timeout_seconds:g} s"
                    measured = Measured(None, Reason.DECODE_TIMEOUT, told)
                except ProcessExpired as error:
                    num_started += 1
                    told = f"the decoder ended with exit code {error.exitcode}"
                    measured = Measured(None, Reason.DECODER_CRASHED, told)
                except MemoryError:
                    measured = Measured(None, Reason.TOO_LARGE, "needs more memory than allowed")
                yield measured
        finally:
            # a process that is stopped while it starts fills standard error with a traceback; here, and not behind the
            # loop, because whoever has taken the last result asks for no more
            for _ in range(num_started):
                started.acquire(timeout=START_SECONDS)


def measure_content(content: bytes, limits: DecodeLimits, images: ImageSettings = AS_STATED) -> ImageFacts:
    """Decode and measure one file in this process; raises as `decode`."""
    samples = _read_samples(content, limits)
    return measure(to_eight_bits(_grey_levels(samples, images)), mode=samples.mode, **_depth(samples))


def _measure_file(path: Path, limits: DecodeLimits, images: ImageSettings) -> Measured:
    content, sha256 = _read(path, limits)
    try:
        return Measured(measure_content(content, limits, images), sha256=sha256)
    except UnreadableImageError as error:
        return Measured(None, Reason(error.reason), error.detail, sha256)


class _Depth(TypedDict):
    bit_depth: int
    used_bits: int | None


def _depth(samples: Samples) -> _Depth:
    """How many bits samples have, and how many of them are used where the file does not say how many count."""
    if samples.values.dtype.kind == "f":
        return {"bit_depth": 32, "used_bits": None}
    if samples.white is not None:
        return {"bit_depth": samples.white.bit_length(), "used_bits": None}
    used = int(samples.values.max()).bit_length()
    return {"bit_depth": 16, "used_bits": used if used >= FEWEST_BITS else None}


def _read(path: Path, limits: DecodeLimits) -> tuple[bytes, str]:
    """Read a file once: as many bytes as tell whether it is too large, and the digest of all of them."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        content = file.read(limits.max_bytes + 1)
        digest.update(content)
        while more := file.read(2**20):
            digest.update(more)
    return content, digest.hexdigest()


def _settle_in(limits: DecodeLimits, started: Semaphore) -> None:
    limit_memory(limits.max_memory_bytes)
    cv2.setNumThreads(1)
    # libtiff and Pillow comment on every oddity of a broken file; its reason code says enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    started.release()


def _broken(error: Exception, content: bytes) -> Reason:
    text = str(error).lower()
    if "truncated" in text or "unexpected end" in text or isinstance(error, EOFError):
        return Reason.TRUNCATED
    return Reason.TRUNCATED if _stops_early(content) else Reason.UNREADABLE


def _stops_early(content: bytes) -> bool:
    """Tell whether a PNG or JPEG lacks the marker that ends it; decoders forgive that where no pixel is lost."""
    ends = {b"\x89PNG\r\n\x1a\n": b"IEND", b"\xff\xd8\xff": b"\xff\xd9"}
    return any(content.startswith(start) and end not in content for start, end in ends.items())
