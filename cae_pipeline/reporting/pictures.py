"""Pictures for people: anomaly maps as files and in colour, contact sheets, histograms."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from cae_pipeline.detector.scorer import ScoredImages
from cae_pipeline.domain.ignoring import Ignored, resized_ignored
from cae_pipeline.domain.images import Floats, Pixels, to_pixels
from cae_pipeline.domain.outcome import Region
from cae_pipeline.errors import ArtefactError
from cae_pipeline.reporting.histogram import sort_into_bars

if TYPE_CHECKING:
    # half a second that only a training, which draws figures, should pay
    from matplotlib.figure import Figure

MAP_UNITS_AT_THRESHOLD = 1000
"""In a map's file this grey value is the threshold; the scale ends at 65 times the threshold."""
BRIGHTEST_AT = 2.0
"""Multiple of the threshold that is drawn in the brightest colour."""
FADED_GREY, HATCHED_GREY = 150, 50
"""What is ignored is faded towards the one grey, and hatched with the other."""
GROUP_COLOURS = ("#2b6cb0", "#dd6b20", "#c62a2f")


def encode_map(anomaly_map: Floats, *, threshold: float) -> bytes:
    """Turn a map into a 16-bit greyscale PNG in which 1000 is the threshold.

    Args:
        anomaly_map: Shape `(h, w)`, float32, ≥ 0.
    """
    grey = np.clip(np.rint(anomaly_map / threshold * MAP_UNITS_AT_THRESHOLD), 0, 65535).astype(np.uint16)
    return _png(grey)


def decode_map(path: Path) -> Floats:
    """Read a map back in multiples of the threshold, shape `(h, w)`, float32.

    Raises:
        ArtefactError: If the file is gone or broken.
    """
    grey = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if grey is None:
        raise ArtefactError(
            f"no anomaly map at {path}; housekeeping may have removed it. Make it again with `cae rescore`."
        )
    multiples: Floats = grey.astype(np.float32) / MAP_UNITS_AT_THRESHOLD
    return multiples


def overlay(image: Pixels, multiples: Floats, *, ignored: Ignored | None = None) -> Pixels:
    """Lay a map over its image: nothing below half the threshold, then dark red to bright yellow.

    Args:
        image: Shape `(h, w)` or `(h, w, c)`, uint8.
        multiples: The map in multiples of the threshold, any size.
        ignored: Pixels that have no say, any size; they are faded and hatched.

    Returns:
        Shape `(h, w, 3)`, uint8, RGB.
    """
    height, width = image.shape[:2]
    cube = image.reshape(height, width, -1)
    colour: Pixels = np.repeat(cube, 3, axis=2) if cube.shape[2] == 1 else cube
    scaled = np.clip(cv2.resize(multiples, (width, height), interpolation=cv2.INTER_LINEAR) / BRIGHTEST_AT, 0, 1)
    heat = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share: Floats = np.clip((scaled - 0.25) / 0.25, 0, 1)[..., None] * 0.75
    blended: Pixels = (colour * (1 - share) + heat * share).astype(np.uint8)
    return blended if ignored is None else _hatched(colour, blended, resized_ignored(ignored, (height, width)))


def framed(image: Pixels, regions: Sequence[Region]) -> Pixels:
    """Draw the boxes of the regions into a colour image as delivered."""
    drawn = np.ascontiguousarray(image)
    thickness = max(1, round(max(image.shape[:2]) / 200))
    for region in regions:
        corner = (region.x_px + region.width_px, region.y_px + region.height_px)
        cv2.rectangle(drawn, (region.x_px, region.y_px), corner, (255, 196, 0), thickness)
    return drawn


def _hatched(plain: Pixels, painted: Pixels, ignored: Ignored) -> Pixels:
    """Fade the picture where it is ignored, and draw stripes over it: what lies there has no colour of a map."""
    rows, columns = np.ogrid[: ignored.shape[0], : ignored.shape[1]]
    period = max(6, round(max(ignored.shape) / 50))
    stripes = (rows + columns) % period < max(1, period // 5)
    faded = (plain.mean(axis=2) * 0.4 + FADED_GREY * 0.6).astype(np.uint8)
    hatched = np.where(stripes, np.uint8(HATCHED_GREY), faded)[..., None]
    return np.where(ignored[..., None], hatched, painted)


def encode_png(image: Pixels) -> bytes:
    """Turn a picture of shape `(h, w)` or `(h, w, 3)`, uint8, RGB, into a PNG."""
    return _png(np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else image))


def data_uri(image: Pixels, *, max_px: int) -> str:
    """Turn an image into a `data:` address for HTML, shrunk to at most `max_px` on the longer side."""
    scale = max_px / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    reversed_colours = image[..., ::-1] if image.ndim == 3 and image.shape[2] == 3 else image
    done, encoded = cv2.imencode(".jpg", np.ascontiguousarray(reversed_colours), [cv2.IMWRITE_JPEG_QUALITY, 85])
    if not done:
        raise ArtefactError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def contact_sheet(scored: ScoredImages, *, threshold: float, ignored: Ignored | None = None) -> Figure:
    """Put inputs, reconstructions and anomaly maps side by side, one image per row.

    Args:
        scored: What a model says of the images.
        threshold: Scores above it are marked.
        ignored: Pixels that have no say, shape `(h, w)` of any size.
    """
    from matplotlib.figure import Figure

    count = len(scored.scores)
    figure = Figure(figsize=(7.2, 2.3 * count + 0.4), layout="constrained")
    axes = figure.subplots(count, 3, squeeze=False)
    for row in range(count):
        pixels, score = to_pixels(scored.inputs[row]), scored.scores[row]
        for column, (picture, title) in enumerate(
            (
                (pixels, "input"),
                (to_pixels(scored.reconstructions[row]), "reconstruction"),
                (overlay(pixels, scored.maps[row] / threshold, ignored=ignored), f"score {score:.2f}"),
            )
        ):
            axis = axes[row, column]
            axis.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255)
            axis.set_axis_off()
            flagged = column == 2 and score > threshold
            axis.set_title(
                title + (" · flagged" if flagged else ""), fontsize=9, color="#c62a2f" if flagged else "black"
            )
    return figure


def score_histogram(groups: Mapping[str, NDArray[np.float64]], *, threshold: float, title: str) -> Figure:
    """Draw how scores are spread, one colour per group, and the threshold they are held against."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axis = figure.subplots()
    bars = sort_into_bars(groups, threshold=threshold)
    for (name, shares), colour in zip(bars.shares.items(), GROUP_COLOURS, strict=False):
        axis.stairs(shares, bars.edges, fill=True, label=f"{name} ({len(groups[name])})", color=colour, alpha=0.65)
    axis.axvline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.2f}")
    axis.set(xlabel="score (the last bar holds all beyond)", ylabel="share of images", title=title)
    axis.legend(frameon=False)
    return figure


def _png(picture: NDArray[np.uint16] | Pixels) -> bytes:
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise ArtefactError(f"a picture of shape {picture.shape} cannot be encoded as PNG")
    return encoded.tobytes()
