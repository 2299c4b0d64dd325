"""Bytes of image files that libraries do not write: tags, chunks and packings that cameras use."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHORT, LONG = 3, 4
"""Types of a tag of a TIFF."""
SUB_DIRECTORIES = 330


def encoded(pixels: NDArray[Any] | Image.Image, kind: str, **options: Any) -> bytes:
    """Write a picture with Pillow."""
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(*pages: tuple[NDArray[Any], dict[int, int]], below_first: NDArray[Any] | None = None) -> bytes:
    """Write an uncompressed little-endian TIFF.

    Args:
        pages: Pixels of each, shape `(h, w[, 3])`, uint8, uint16 or float64, and tags whose value replaces the usual
            one; 10, 12 or 14 for BitsPerSample (258) packs samples without a gap.
        below_first: Pixels of a page that the first page points at with SubIFDs.
    """
    body, chain, pointer = bytearray(b"II*\0\0\0\0\0"), 4, None
    if below_first is not None:
        pointer = _page(body, below_first, {})
    for number, (pixels, tags) in enumerate(pages):
        more = {SUB_DIRECTORIES: pointer} if number == 0 and pointer is not None else {}
        start = _page(body, pixels, {**tags, **more})
        struct.pack_into("<I", body, chain, start)
        chain = len(body) - 4
    return bytes(body)


def _page(body: bytearray, pixels: NDArray[Any], tags: dict[int, int]) -> int:
    """Append samples and a directory; returns where the directory begins."""
    height, width, channels = (*pixels.shape, 1)[:3]
    bits = tags.get(258, pixels.dtype.itemsize * 8)
    data = _packed(pixels, bits) if bits in (10, 12, 14) else pixels.tobytes()
    start = len(body)
    body += data + bytes(len(data) % 2)
    bits_at = bits
    if channels == 3:
        bits_at = len(body)
        body += struct.pack("<HHH", bits, bits, bits) + bytes(2)
    usual = {
        256: width, 257: height, 258: bits_at, 259: 1, 262: 2 if channels == 3 else 1,
        273: start, 277: channels, 278: height, 279: len(data),
    }  # fmt: skip
    values = sorted({**usual, **tags}.items())
    place = len(body)
    body += struct.pack("<H", len(values))
    for tag, value in values:
        kind, count = (LONG if tag in (273, 279, SUB_DIRECTORIES, 254) else SHORT), channels if tag == 258 else 1
        body += struct.pack("<HHII", tag, kind, count, value)
    body += bytes(4)
    return place


def _packed(pixels: NDArray[Any], bits: int) -> bytes:
    """Put samples side by side without a gap; each row begins with a byte."""
    places = (pixels[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(places.reshape(len(pixels), -1).astype(np.uint8), axis=1).tobytes()


def png(pixels: NDArray[Any], *, colour: int, chunks: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """Write a PNG of 8 or 16 bits per sample.

    Args:
        pixels: Shape `(h, w[, c])`, uint8 or uint16.
        colour: 0 grey, 2 colour, 4 grey with alpha, 6 colour with alpha.
        chunks: Further chunks before the pixels: name and content.
    """
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, pixels.dtype.itemsize * 8, colour, 0, 0, 0)
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in big_endian))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def portable(pixels: NDArray[Any], highest: int) -> bytes:
    """Write a binary PGM or PPM whose white is `highest`."""
    kind = b"P6" if pixels.ndim == 3 else b"P5"
    samples = pixels.astype(">u2" if highest > 255 else np.uint8).tobytes()
    return kind + b"\n# a camera\n%d %d\n%d\n" % (*pixels.shape[1::-1], highest) + samples


def with_preview(main: NDArray[Any], beside: NDArray[Any]) -> bytes:
    """Write a JPEG that holds a second picture (multi-picture format)."""
    return encoded(main, "MPO", save_all=True, append_images=[Image.fromarray(beside)], quality=95)


def with_exif(pixels: NDArray[Any], exif: bytes, kind: str = "JPEG") -> bytes:
    """Write a picture with the bytes of an EXIF block, whatever is in it."""
    return encoded(pixels, kind, exif=b"Exif\0\0" + exif if kind == "JPEG" else exif, quality=95)


def orientation(value: int) -> bytes:
    """An EXIF block that says how a picture is to be turned."""
    return b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 274, SHORT, 1, value) + bytes(4)
