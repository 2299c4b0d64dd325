"""Bytes of an image file → its samples as they were written, and what the file says of them.

Nothing is scaled here but what has only eight bits: `Samples` still has every grey level of the file.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cae_pipeline.adapters.stated_depth import WHITE, stated_white
from cae_pipeline.adapters.tiff_pages import numbers_of_first_page, with_main_page_first, without_orientation
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.errors import UnreadableImageError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
"""What cameras write. Pillow knows fifty more, each with a parser of its own to attack."""
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N", "I")
GREYS = ("1", "L", "LA", "La")
MAX_PREVIEWS = 8
"""Pictures beside the main one that are looked at."""
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, MAX_SAMPLE_VALUE, EXTRA_SAMPLES = TAGS = (258, 262, 274, 281, 338)
"""What a TIFF says of its samples."""
ONLY_OPENCV_TAGS = (256, 257, 258, 262, 274, 277, 339)
"""Columns, rows, bits per sample, photometric interpretation, orientation, samples per pixel, sample format."""
FLOATS = 3
"""What the tag of the sample format says of floats."""
NO_ALPHA_TO_APPLY = ((0,), (1,))
"""What the tag of extra samples may say of a fourth sample: something else, or an alpha that is applied."""
WHITE_IS_ZERO, IS_COLOUR = 0, 2
"""What the tag of the photometric interpretation may say."""
PNG_DEPTH_AT, PNG_COLOUR_AT, PNG_GREY_ALPHA = 24, 25, 4
"""Where a PNG says how many bits a sample has and what it is, and its word for grey with alpha."""


@dataclass(frozen=True)
class Samples:
    """What stands in a file.

    Attributes:
        values: Shape `(h, w)` or `(h, w, 3)`; uint8 in [0, 255], uint16 as written, or floats as written.
        mode: Pillow's name of the pixel format as delivered.
        white: The highest value a sample may have, as the file states it; None where it has room for 16 bits and does
            not say how many of them count, and for floats.
        is_inverted: Whether the lowest value of a uint16 is white.
    """

    values: NDArray[Any]
    mode: str
    white: int | None = 255
    is_inverted: bool = False


def read_samples(content: bytes, *, max_pixels: int, enough_px: tuple[int, int] | None) -> Samples:
    """Read the main picture of a file, upright.

    Args:
        content: Of the file.
        max_pixels: Columns times rows above which nothing is decoded.
        enough_px: Rows and columns that suffice for a JPEG.

    Raises:
        UnreadableImageError: If it has too many pixels, or several pictures of equal rank.
        Exception: Whatever Pillow raises of a broken file, of any class.
    """
    content = with_main_page_first(content)
    if (samples := _beyond_pillow(content, max_pixels)) is not None:
        return samples
    with warnings.catch_warnings():
        # a tag that is broken and does not matter is nothing that people must know
        warnings.simplefilter("ignore", UserWarning)
        # Pillow warns where a header lies about a file; a warning nobody reads is no defence
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _check_size(image.size, max_pixels)
            _choose_picture(image)
            _check_size(image.size, max_pixels)
            if enough_px:
                # the longer side in both directions: the image may yet be turned by its EXIF orientation
                image.draft(None, (max(enough_px), max(enough_px)))
            return _samples(image, content)


def _check_size(size_px: tuple[int, int], max_pixels: int) -> None:
    width, height = size_px
    if width * height > max_pixels:
        raise UnreadableImageError(Reason.TOO_LARGE, f"{width}×{height} px, at most {max_pixels:,} pixels are decoded")


def _choose_picture(image: Any) -> None:
    """Turn to the main picture: a JPEG may hold smaller ones beside it; a TIFF has its main page first already.

    Raises:
        UnreadableImageError: If several pictures are of equal rank.
    """
    count = 1 if image.format == "TIFF" else getattr(image, "n_frames", 1)
    if count <= 1:
        return
    if image.format != "MPO" or count > 1 + MAX_PREVIEWS:
        raise UnreadableImageError(Reason.MULTIPLE_FRAMES, f"{count} frames, expected one")
    areas = [_area(image, frame) for frame in range(count)]
    if areas.count(max(areas)) > 1:
        raise UnreadableImageError(Reason.MULTIPLE_FRAMES, f"{count} pictures, several of them of the same size")
    image.seek(areas.index(max(areas)))


def _area(image: Any, frame: int) -> int:
    """Pixels of one picture of several; 0 where it cannot be read, since a broken preview costs nothing."""
    try:
        image.seek(frame)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 Pillow raises OSError, ValueError, SyntaxError, TypeError, struct.error and more
        return 0
    return int(image.width * image.height)


def _beyond_pillow(content: bytes, max_pixels: int) -> Samples | None:
    """Read a TIFF of 10 or 14 bits, or of floats of 64, with OpenCV; None for any other file."""
    width, height, bits, photometric, turn, channels, kind = numbers_of_first_page(content, *ONLY_OPENCV_TAGS)
    is_float = (bits, kind) == (64, FLOATS)
    if (channels or 1) != 1 or not width or not height or not (is_float or bits in (10, 14)):
        return None
    _check_size((width, height), max_pixels)
    whole: NDArray[Any] | None = cv2.imdecode(
        np.frombuffer(without_orientation(content), np.uint8), cv2.IMREAD_UNCHANGED
    )
    if whole is None or whole.shape != (height, width) or whole.dtype != (np.float64 if is_float else np.uint16):
        raise UnreadableImageError(Reason.UNREADABLE, f"{bits} bits per sample that OpenCV cannot read")
    upright = _turned_by(whole, turn)
    if is_float:
        return Samples(upright, "F", None)
    # OpenCV shifts samples to the upper end of 16 bits
    unused = 16 - (bits or 16)
    return Samples(upright >> unused, "I;16", WHITE >> unused, is_inverted=photometric == WHITE_IS_ZERO)


def _samples(image: Any, content: bytes) -> Samples:
    """Decode the picture that an open image is turned to."""
    mode, tile = image.mode, list(image.tile)
    tags = {tag: image.tag_v2.get(tag) for tag in TAGS} if image.format == "TIFF" else {}
    if tile and tile[0].codec_name == "ppm" and tile[0].args[1] > 255:
        # Pillow would scale sample by sample in Python, and cut colours down to eight bits
        highest = int(tile[0].args[1])
        return Samples(_portable(image, content), mode, highest if highest < WHITE else None)
    image.load()
    if mode in SIXTEEN_BITS:
        values = _turned(_sixteen_bits(np.asarray(image)), image)
        if (key := image.info.get("transparency")) is not None and isinstance(key, int):
            values = np.where(values == key, 0, values).astype(np.uint16)
        white = stated_white(content, values, tags)
        return Samples(values, mode, white, is_inverted=tags.get(PHOTOMETRIC) == WHITE_IS_ZERO)
    if mode == "F":
        return Samples(_turned(np.asarray(image), image), mode, None)
    if _has_deep_colours(content, tags):
        values = _turned(_deep_colours(content, image, tags), image)
        return Samples(values, mode, stated_white(content, values, tags))
    return Samples(_turned(_eight_bits(image), image), mode)


def _portable(image: Any, content: bytes) -> NDArray[np.uint16]:
    """Read the samples of a binary PGM or PPM: two bytes each, the higher one first."""
    start, channels = image.tile[0].offset, 3 if image.mode == "RGB" else 1
    count = image.width * image.height * channels
    if len(content) < start + 2 * count:
        raise UnreadableImageError(Reason.TRUNCATED, "the file stops before its last pixel")
    values = np.frombuffer(content, ">u2", count, start).astype(np.uint16)
    return values.reshape((image.height, image.width, channels)[: 2 + (channels == 3)])


def _sixteen_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise UnreadableImageError(Reason.WRONG_MODE, "32-bit pixels outside 0 … 65535, expected 8 or 16 bits")
    return values.astype(np.uint16)


def _has_deep_colours(content: bytes, tags: dict[int, Any]) -> bool:
    """Tell whether a file has 16 bits per colour, or grey and alpha: Pillow keeps eight of them."""
    if content.startswith(b"\x89PNG"):
        return content[PNG_DEPTH_AT] == 16
    bits = tags.get(BITS_PER_SAMPLE) or ()
    return len(bits) in (3, 4) and set(bits) == {16} and tags.get(PHOTOMETRIC) == IS_COLOUR


def _deep_colours(content: bytes, image: Image.Image, tags: dict[int, Any]) -> NDArray[np.uint16]:
    """Read 16 bits per colour with OpenCV, over black where there is alpha; Pillow has checked the file before."""
    whole: NDArray[Any] | None = cv2.imdecode(
        np.frombuffer(without_orientation(content), np.uint8), cv2.IMREAD_UNCHANGED
    )
    # what OpenCV cannot read is no array of colours
    upright = np.zeros((0, 0)) if whole is None else _turned_by(whole, tags.get(ORIENTATION))
    if upright.dtype != np.uint16 or upright.ndim != 3 or upright.shape[:2] != image.size[::-1]:
        raise UnreadableImageError(Reason.UNREADABLE, "16-bit colours that OpenCV does not read as Pillow does")
    colours = upright[..., 2::-1]
    # a fourth sample that is no alpha, or that the colours are multiplied with already, changes nothing
    if upright.shape[2] == 4 and tags.get(EXTRA_SAMPLES) not in NO_ALPHA_TO_APPLY:
        colours = _over_black(colours, upright[..., 3])
    is_grey = content.startswith(b"\x89PNG") and content[PNG_COLOUR_AT] == PNG_GREY_ALPHA
    return np.ascontiguousarray(colours[..., 0] if is_grey else colours)


def _eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Resolve palettes, other colour spaces and alpha to grey or colour."""
    wanted = "L" if image.mode in GREYS else "RGB"
    if not image.has_transparency_data:
        return np.asarray(image if image.mode == wanted else image.convert(wanted))
    with_alpha = np.asarray(image.convert("RGBA"))
    colours = _over_black(with_alpha[..., :3], with_alpha[..., 3])
    return colours[..., 0] if wanted == "L" else colours


def _over_black(colours: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Lay colours over black: what is fully transparent is black, whatever colour hides there."""
    opaque = np.iinfo(colours.dtype).max
    if alpha.min(initial=opaque) == opaque:
        return colours
    product = colours.astype(np.uint32) * alpha[..., None]
    laid_over: NDArray[Any] = ((product + opaque // 2) // opaque).astype(colours.dtype)
    return laid_over


def _turned(values: NDArray[Any], image: Image.Image) -> NDArray[Any]:
    """Turn an image upright as its EXIF says; one that says nonsense, or is broken, turns nothing."""
    try:
        orientation = image.getexif().get(ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 as for a broken preview
        return values
    return _turned_by(values, orientation)


def _turned_by(values: NDArray[Any], orientation: Any) -> NDArray[Any]:
    """Undo one of the eight orientations of EXIF; any other value turns nothing."""
    match orientation:
        case 2:
            turned = values[:, ::-1]
        case 3:
            turned = values[::-1, ::-1]
        case 4:
            turned = values[::-1]
        case 5:
            turned = values.swapaxes(0, 1)
        case 6:
            turned = np.rot90(values, -1)
        case 7:
            turned = values[::-1, ::-1].swapaxes(0, 1)
        case 8:
            turned = np.rot90(values)
        case _:
            turned = values
    return np.ascontiguousarray(turned)
