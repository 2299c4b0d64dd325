"""What cameras write and what becomes of it: one example of each format and mode, with what is to come out.

`docs/formats.md` is made from this list and from what the examples become: `python -m tests.formats` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cae_pipeline.adapters.decoding import AS_STATED, DecodeLimits, measure_content, read_for_network
from cae_pipeline.domain.image_settings import ImageSettings
from cae_pipeline.errors import UnreadableImageError
from tests.image_files import encoded, orientation, png, portable, tiff, with_exif, with_preview

PAGE = Path(__file__).parents[1] / "docs/formats.md"
ROWS, COLUMNS = 24, 32
GREY8 = (np.add.outer(np.arange(ROWS) * 6, np.arange(COLUMNS) * 3) + 8).astype(np.uint8)
"""A picture that is brighter to the lower right; no turned copy of it looks the same."""
GREY12 = (GREY8.astype(np.uint32) * 4095 // 255).astype(np.uint16)
GREY10 = (GREY8.astype(np.uint32) * 1023 // 255).astype(np.uint16)
GREY16 = GREY8.astype(np.uint16) * 257
COLOUR8 = np.dstack([GREY8, GREY8[::-1], 255 - GREY8])
COLOUR16 = COLOUR8.astype(np.uint16) * 257
STRIPES = np.where(np.arange(COLUMNS) % 8 < 4, 255, 0).astype(np.uint8) * np.ones((ROWS, 1), np.uint8)
SMALL = GREY8[:8, :8]
HALF = np.where(np.arange(COLUMNS) < COLUMNS // 2, 255, 0) * np.ones((ROWS, 1), int)
"""Opaque on the left, fully transparent on the right."""
ALPHA = HALF.astype(np.uint8)
OVER_BLACK = np.where(HALF > 0, GREY8, 0).astype(np.uint8)
COLOUR_OVER_BLACK = np.where(HALF[..., None] > 0, COLOUR8, 0).astype(np.uint8)
TWELVE = ImageSettings(bit_depth=12)
FLAT = np.broadcast_to(np.array([200, 120, 40], np.uint8), (ROWS, COLUMNS, 3))
"""One colour, which a mosaic gives back exactly."""
LIMITS = DecodeLimits()


@dataclass(frozen=True)
class Example:
    """One file and what is to become of it.

    Attributes:
        kind: The format, as the page says it.
        holds: What is in the file.
        done: What is done with it.
        content: Its bytes.
        expected: The picture, uint8, within a grey value or what the compression loses; or the reason of a refusal.
        images: What the line says of its images.
    """

    kind: str
    holds: str
    done: str
    content: bytes
    expected: NDArray[np.uint8] | str
    images: ImageSettings = AS_STATED

    @property
    def tolerance(self) -> int:
        """Grey values that compression may change."""
        return {"JPEG": 12, "WebP": 12}.get(self.kind, 1)


def mosaic(pattern: str) -> NDArray[np.uint8]:
    """`FLAT` through the colour filters of a sensor."""
    colours = np.array(["rgb".index(letter) for letter in pattern]).reshape(2, 2)
    chosen = np.tile(colours, (ROWS // 2, COLUMNS // 2))
    return np.take_along_axis(FLAT, chosen[..., None], axis=2)[..., 0]


def palette(transparent: bool = False) -> bytes:
    """A PNG with a palette of greys, of which the darker half may be transparent and hides white."""
    image = Image.fromarray(STRIPES // 255)
    image.putpalette([255, 255, 255, 90, 90, 90] if transparent else [30, 60, 90, 200, 100, 50])
    return encoded(image, "PNG", transparency=0) if transparent else encoded(image, "PNG")


def animated(kind: str) -> bytes:
    """Two frames of equal rank."""
    return encoded(GREY8, kind, save_all=True, append_images=[Image.fromarray(255 - GREY8)])


PALETTE_COLOURS = np.where(STRIPES[..., None] > 0, [200, 100, 50], [30, 60, 90]).astype(np.uint8)
PALETTE_OVER_BLACK = np.where(STRIPES[..., None] > 0, 90, 0).astype(np.uint8).repeat(3, axis=2)
SIDEWAYS = np.rot90(GREY8, -1)
FLOATS = Image.fromarray((GREY8 / 255).astype(np.float32))
AS_IT_IS = "as it is"
UNUSED = "white is 65535 until `bit_depth` is set or learnt; a file that leaves bits unused is `unused_range`"
TO_BLACK = "laid over black: no colour that hides under full transparency is seen"
STATED = "white is what the file says it is; every grey level is kept"
BEST = "the larger picture counts, the smaller one is a preview"
EQUAL = "nobody knows which one counts"

EXAMPLES = (
    Example("PNG", "1 bit", "black and white", encoded(Image.fromarray(STRIPES).convert("1"), "PNG"), STRIPES),
    Example("PNG", "grey, 8 bits", AS_IT_IS, encoded(GREY8, "PNG"), GREY8),
    Example("PNG", "grey, 16 bits", UNUSED, encoded(GREY16, "PNG"), GREY8),
    Example("PNG", "grey, 16 bits, `bit_depth = 12`", "white is 4095", encoded(GREY12, "PNG"), GREY8, TWELVE),
    Example("PNG", "grey, 16 bits, sBIT 12", STATED, png(GREY12, colour=0, chunks=((b"sBIT", b"\x0c"),)), GREY8),
    Example("PNG", "colour, 8 bits", AS_IT_IS, encoded(COLOUR8, "PNG"), COLOUR8),
    Example("PNG", "colour, 16 bits", UNUSED, png(COLOUR16, colour=2), COLOUR8),
    Example("PNG", "grey and alpha", TO_BLACK, png(np.dstack([GREY8, ALPHA]), colour=4), OVER_BLACK),
    Example(
        "PNG", "grey and alpha, 16 bits", TO_BLACK,
        png(np.dstack([GREY16, ALPHA.astype(np.uint16) * 257]), colour=4), OVER_BLACK,
    ),
    Example("PNG", "colour and alpha", TO_BLACK, png(np.dstack([COLOUR8, ALPHA]), colour=6), COLOUR_OVER_BLACK),
    Example(
        "PNG", "colour and alpha, 16 bits", TO_BLACK,
        png(np.dstack([COLOUR16, ALPHA.astype(np.uint16) * 257]), colour=6), COLOUR_OVER_BLACK,
    ),
    Example("PNG", "palette", "its colours", palette(), PALETTE_COLOURS),
    Example("PNG", "palette with transparency", TO_BLACK, palette(transparent=True), PALETTE_OVER_BLACK),
    Example("PNG", "animation", EQUAL, animated("PNG"), "multiple_frames"),
    Example("JPEG", "grey", AS_IT_IS, encoded(GREY8, "JPEG", quality=95), GREY8),
    Example("JPEG", "colour", AS_IT_IS, encoded(COLOUR8, "JPEG", quality=95, subsampling=0), COLOUR8),
    Example(
        "JPEG", "CMYK", "turned to colour without a profile",
        encoded(Image.fromarray(COLOUR8).convert("CMYK"), "JPEG", quality=95, subsampling=0), COLOUR8,
    ),
    Example("JPEG", "a smaller picture beside the main one", BEST, with_preview(GREY8, SMALL), GREY8),
    Example("JPEG", "two pictures of one size", EQUAL, with_preview(GREY8, 255 - GREY8), "multiple_frames"),
    Example("JPEG", "EXIF: turned right", "turned upright", with_exif(GREY8, orientation(6)), SIDEWAYS),
    Example("JPEG", "EXIF: an orientation there is not", "not turned", with_exif(GREY8, orientation(99)), GREY8),
    Example("JPEG", "EXIF: broken", "not turned", with_exif(GREY8, b"II*\0\xff\xff\xff\x7f garbage"), GREY8),
    Example("TIFF", "1 bit", "black and white", encoded(Image.fromarray(STRIPES).convert("1"), "TIFF"), STRIPES),
    Example("TIFF", "grey, 8 bits", AS_IT_IS, tiff((GREY8, {})), GREY8),
    Example("TIFF", "grey, 12 bits, packed", STATED, tiff((GREY12, {258: 12})), GREY8),
    Example("TIFF", "grey, 10 or 14 bits, packed", STATED, tiff((GREY10, {258: 10})), GREY8),
    Example("TIFF", "grey, 16 bits", UNUSED, tiff((GREY16, {})), GREY8),
    Example("TIFF", "grey, 16 bits, `bit_depth = 12`", "white is 4095", tiff((GREY12, {})), GREY8, TWELVE),
    Example("TIFF", "grey, 16 bits, MaxSampleValue 4095", STATED, tiff((GREY12, {281: 4095})), GREY8),
    Example("TIFF", "grey, 16 bits, white is zero", "inverted", tiff((65535 - GREY16, {262: 0})), GREY8),
    Example(
        "TIFF", "grey, 32-bit whole numbers up to 65535", UNUSED,
        encoded(Image.fromarray(GREY16.astype(np.int32)), "TIFF"), GREY8,
    ),
    Example(
        "TIFF", "grey, 32-bit whole numbers above 65535", "no range is known",
        encoded(Image.fromarray(GREY16.astype(np.int32) * 3), "TIFF"), "wrong_mode",
    ),
    Example("TIFF", "floats", "no range is known", encoded(FLOATS, "TIFF"), "wrong_mode"),
    Example(
        "TIFF", "floats, `float_range = [0.0, 1.0]`", "black and white are what the line says",
        encoded(FLOATS, "TIFF"), GREY8, ImageSettings(float_range=(0.0, 1.0)),
    ),
    Example(
        "TIFF", "floats, one of them NaN", "refused, whatever the range",
        encoded(np.where(GREY8 < 9, np.nan, 0.5).astype(np.float32), "TIFF"), "wrong_mode",
        ImageSettings(float_range=(0.0, 1.0)),
    ),
    Example("TIFF", "floats of 64 bits, `float_range = [0.0, 1.0]`", "black and white are what the line says",
            tiff((GREY8 / 255, {339: 3})), GREY8, ImageSettings(float_range=(0.0, 1.0))),
    Example("TIFF", "colour, 8 bits", AS_IT_IS, tiff((COLOUR8, {})), COLOUR8),
    Example("TIFF", "colour, 16 bits", UNUSED, tiff((COLOUR16, {})), COLOUR8),
    Example("TIFF", "colour, 16 bits, to be turned right", "turned upright",
            tiff((COLOUR16, {274: 6})), np.rot90(COLOUR8, -1)),
    Example("TIFF", "CMYK", "turned to colour without a profile",
            encoded(Image.fromarray(COLOUR8).convert("CMYK"), "TIFF"), COLOUR8),
    Example("TIFF", "a second page marked as a reduced version", "the main page counts",
            tiff((GREY8, {}), (SMALL, {254: 1})), GREY8),
    Example("TIFF", "a first page marked as a reduced version", "the main page counts",
            tiff((SMALL, {254: 1}), (GREY8, {})), GREY8),
    Example("TIFF", "a page below the main one (SubIFDs)", "the main page counts",
            tiff((GREY8, {}), below_first=SMALL), GREY8),
    Example("TIFF", "a reduced page with the main one below it", "the main page counts",
            tiff((SMALL, {254: 1}), below_first=GREY8), GREY8),
    Example("TIFF", "two pages of equal rank", EQUAL, tiff((GREY8, {}), (GREY8, {})), "multiple_frames"),
    *(
        Example("any", f'raw mosaic, `bayer_pattern = "{pattern}"`', "its colours, by bilinear interpolation",
                encoded(mosaic(pattern), "PNG"), FLAT, ImageSettings(bayer_pattern=pattern))
        for pattern in ("rggb", "bggr", "grbg", "gbrg")
    ),
    Example("PGM", "8 bits", AS_IT_IS, portable(GREY8, 255), GREY8),
    Example("PGM", "12 bits (maxval 4095)", STATED, portable(GREY12, 4095), GREY8),
    Example("PGM", "16 bits (maxval 65535)", UNUSED, portable(GREY16, 65535), GREY8),
    Example("PGM", "16 bits, `bit_depth = 12`", "white is 4095", portable(GREY12, 65535), GREY8, TWELVE),
    Example("PPM", "8 bits", AS_IT_IS, portable(COLOUR8, 255), COLOUR8),
    Example("PPM", "12 bits (maxval 4095)", STATED,
            portable((COLOUR8.astype(np.uint32) * 4095 // 255).astype(np.uint16), 4095), COLOUR8),
    Example("BMP", "grey, 8 bits", AS_IT_IS, encoded(GREY8, "BMP"), GREY8),
    Example("BMP", "colour", AS_IT_IS, encoded(COLOUR8, "BMP"), COLOUR8),
    Example("WebP", "colour", AS_IT_IS, encoded(COLOUR8, "WEBP", lossless=True), COLOUR8),
    Example("WebP", "colour and alpha", TO_BLACK,
            encoded(np.dstack([COLOUR8, ALPHA]), "WEBP", lossless=True, exact=True), COLOUR_OVER_BLACK),
    Example("WebP", "animation", EQUAL, animated("WEBP"), "multiple_frames"),
    Example("GIF", "any", "no format of cameras", encoded(GREY8, "GIF"), "not_an_image"),
)  # fmt: skip


def what_becomes_of(example: Example) -> str:
    """Read an example as validation does, and say what comes of it."""
    try:
        facts = measure_content(example.content, LIMITS, example.images)
        pixels = as_read(example)
    except UnreadableImageError as error:
        return f"quarantined: `{error.reason}`"
    kind = "colour" if pixels.ndim == 3 else "grey"
    return f"{kind}, {'8' if facts.bit_depth == 8 else '16'} bits, mode `{facts.mode}`"


def as_read(example: Example) -> NDArray[Any]:
    """Pixels for a network that is given 16 bits, in grey where the file shows no colour, at the size of the file."""
    facts = measure_content(example.content, LIMITS, example.images)
    size = {"height_px": facts.height_px, "width_px": facts.width_px}
    images = ImageSettings(**{**vars(example.images), "network_bits": 16})
    pixels = read_for_network(example.content, LIMITS, **size, channels=3, images=images)
    is_grey = isinstance(example.expected, str) or example.expected.ndim == 2
    return pixels[..., 0] if is_grey else pixels


def page() -> str:
    """The page of the documentation."""
    rows = [f"| {one.kind} | {one.holds} | {what_becomes_of(one)} | {one.done} |" for one in EXAMPLES]
    return INTRODUCTION + "\n".join(rows) + "\n"


INTRODUCTION = """\
# What cameras write

Every row is made by writing such a file and reading it, by `python -m tests.formats`; a test holds this page against
what the code does today. Knobs stand in the line's table [`images`](lines.md).

* **Bit depth.** Cameras put 10, 12 or 14 bits into files with room for 16. The depth is taken from the file where it
  says so (BitsPerSample and MaxSampleValue of TIFF, maxval of PGM and PPM, sBIT of PNG), else from the knob
  `bit_depth`, else it is learnt from the line's normal images together, once there are 20. It is never guessed from
  one image: a dark picture uses fewer bits than its camera has. While nobody knows, a 16-bit file that leaves bits
  unused gets the reason `unused_range` and a sentence that names the range and the knob. A file that holds higher
  values than the depth of its line gets `beyond_range`.
* **Grey levels.** Samples are stretched to all 16 bits, resized there, and given to the network in 16 bits where a
  normal image has more than 8 (`network_bits`). Facts and pictures for people have 8.
* **Alpha.** Pictures are laid over black. An image without any transparency is what it was.
* **Orientation.** Images are turned as EXIF says. A tag that is broken or says nonsense turns nothing.
* **Limits.** Bytes, pixels, frames, seconds and memory are limited, whatever the format
  ([settings](settings.md)).

| format | holds | becomes | what is done |
|---|---|---|---|
"""

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
