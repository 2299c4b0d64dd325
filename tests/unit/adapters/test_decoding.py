from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cae_pipeline.adapters.decoding import DecodeLimits, decode, measure_files, read_for_network
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.errors import UnreadableImageError
from tests.conftest import png, washer

LIMITS = DecodeLimits(timeout_seconds=5, num_processes=1)


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _claims(width: int, height: int) -> bytes:
    """Build a PNG whose header claims a size that its few bytes do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


WHOLE = png(washer(1))
JPEG = _encoded(Image.fromarray(washer(1)), "JPEG")
FRAMES = _encoded(Image.fromarray(washer(1)), "TIFF", save_all=True, append_images=[Image.fromarray(washer(2))])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.NOT_AN_IMAGE),
        (b"camera 2: no trigger signal\n", Reason.NOT_AN_IMAGE),
        (_encoded(Image.fromarray(washer(1)), "GIF"), Reason.NOT_AN_IMAGE),
        (WHOLE[: len(WHOLE) // 2], Reason.TRUNCATED),
        (WHOLE[:-20], Reason.TRUNCATED),
        (JPEG[: len(JPEG) // 2], Reason.TRUNCATED),
        (WHOLE[:60] + b"\xff" * 40 + WHOLE[100:], Reason.UNREADABLE),
        (_claims(60_000, 60_000), Reason.TOO_LARGE),
        (_claims(9_000, 9_000), Reason.TOO_LARGE),
        (FRAMES, Reason.MULTIPLE_FRAMES),
        (_encoded(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), Reason.WRONG_MODE),
    ],
)
def test_what_is_no_image_says_why(content: bytes, reason: Reason) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(content, LIMITS)
    assert caught.value.reason == reason


def test_more_bytes_than_allowed_are_not_decoded() -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode(WHOLE, DecodeLimits(max_bytes=100))
    assert caught.value.reason == Reason.TOO_LARGE


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    deep = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    pixels, mode = decode(png(deep), LIMITS)
    assert mode.startswith("I")
    assert np.array_equal(pixels.ravel(), np.arange(256))


def test_the_rotation_a_camera_notes_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right
    wide = np.zeros((10, 30), np.uint8)
    wide[:, :15] = 200
    pixels, _ = decode(_encoded(Image.fromarray(wide), "JPEG", exif=exif, quality=95), LIMITS)
    assert pixels.shape == (30, 10)
    assert pixels[5, 5] > 150
    assert pixels[25, 5] < 50


@pytest.mark.parametrize(("mode", "shape"), [("1", (6, 8)), ("L", (6, 8)), ("P", (6, 8, 3)), ("RGBA", (6, 8, 3))])
def test_every_pixel_format_becomes_grey_or_colour(mode: str, shape: tuple[int, ...]) -> None:
    pixels, delivered = decode(_encoded(Image.new(mode, (8, 6)), "PNG"), LIMITS)
    assert pixels.dtype == np.uint8
    assert (pixels.shape, delivered) == (shape, mode)


def test_the_network_gets_the_size_and_channels_it_was_built_for() -> None:
    knobs: dict[str, Any] = {"height_px": 20, "width_px": 30}
    assert read_for_network(WHOLE, LIMITS, channels=1, **knobs).shape == (20, 30, 1)
    assert read_for_network(WHOLE, LIMITS, channels=3, **knobs).shape == (20, 30, 3)
    constant = read_for_network(png(np.full((50, 50), 77, np.uint8)), LIMITS, channels=1, **knobs)
    assert set(constant.ravel().tolist()) == {77}


def test_a_file_that_hangs_or_breaks_costs_one_row_and_not_the_batch(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(WHOLE)
    os.mkfifo(tmp_path / "b.png")  # opening it waits for a writer that never comes
    (tmp_path / "c.png").write_bytes(WHOLE[:50])
    (tmp_path / "d.png").write_bytes(JPEG)
    limits = DecodeLimits(timeout_seconds=1.5, num_processes=1)
    results = list(measure_files(sorted(tmp_path.iterdir()), limits))
    assert [result.reason for result in results] == [None, Reason.DECODE_TIMEOUT, Reason.TRUNCATED, None]
    assert results[0].facts is not None
    assert results[0].facts.width_px == 48


def test_a_decoder_without_memory_is_an_image_too_large_and_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.zeros((7000, 7000), np.uint8)))
    (tmp_path / "b.png").write_bytes(WHOLE)
    limits = DecodeLimits(timeout_seconds=20, num_processes=1, max_memory_bytes=1200 * 2**20)
    reasons = [result.reason for result in measure_files(sorted(tmp_path.iterdir()), limits)]
    assert reasons == [Reason.TOO_LARGE, None]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_decoded_at_a_fraction_of_its_size_looks_the_same_to_the_network(orientation: int) -> None:
    blurred = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (640, 960, 3)).astype(np.float32), (0, 0), 12)
    picture = Image.fromarray(np.clip((blurred - 128) * 12 + 128, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=95, exif=exif)
    whole, _ = decode(stream.getvalue(), LIMITS)
    height_px, width_px = (48, 64) if orientation == 1 else (64, 48)
    few, _ = decode(stream.getvalue(), LIMITS, enough_px=(2 * height_px, 2 * width_px))
    assert few.shape[0] * 4 == whole.shape[0]
    expected = cv2.resize(whole, (width_px, height_px), interpolation=cv2.INTER_AREA)
    received = read_for_network(stream.getvalue(), LIMITS, height_px=height_px, width_px=width_px, channels=3)
    assert np.abs(received.astype(int) - expected).max() <= 6
    assert np.abs(received.astype(int) - expected).mean() < 1
