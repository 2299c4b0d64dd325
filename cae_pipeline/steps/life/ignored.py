"""What of a line's images has no say: read from its ignore mask and its region of interest for a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import structlog

from cae_pipeline.adapters.decoding import DecodeLimits, decode
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.domain.ignoring import Ignored, outside_of, resized_ignored
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ArtefactError, ConfigurationError, UnreadableImageError
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


def read_ignored(line: Line, *, delivered_px: tuple[int, int], limits: DecodeLimits) -> Ignored | None:
    """Read what a line's knobs ignore.

    Args:
        line: Its `area` names an ignore mask, a region of interest, both or neither.
        delivered_px: Rows and columns of its images as delivered.
        limits: What the file of the mask may cost.

    Returns:
        True where a pixel is ignored, shape `delivered_px`; None if every pixel counts.

    Raises:
        ConfigurationError: If the mask cannot be read or has another shape, if the region does not lie in the image,
            or if nothing is left that counts.
    """
    area, ignored = line.area, np.zeros(delivered_px, np.bool_)
    if area.ignore_mask:
        ignored |= _read_mask(line, delivered_px, limits)
    if area.region_of_interest is not None:
        _check_inside(line, area.region_of_interest, delivered_px)
        ignored |= outside_of(area.region_of_interest, delivered_px)
    if ignored.all():
        raise ConfigurationError(
            f"lines.{line.name}.area ignores the whole image; expected some pixels that count. In an ignore mask black "
            "(0) is what counts, and everything else is ignored: it may be the wrong way round."
        )
    return ignored if ignored.any() else None


def tell_changes(line: Line, champion: ModelVersion | None, ignored: Ignored | None, services: Services) -> None:
    """Say what of the images a training ignores, and where that differs from what the champion ignores."""
    if ignored is not None:
        log.info("pixels_ignored", line=line.name, share=round(float(ignored.mean()), 4))
    if champion is None:
        return
    try:
        before = read_artefact(champion, services).ignored
    except ArtefactError as error:
        log.warning("champion_unreadable", model_version=champion.model_version, problem=str(error))
        return
    if _differ(before, ignored):
        log.warning(
            "ignored_pixels_changed",
            line=line.name,
            champion=champion.model_version,
            share_ignored_by_champion=_share(before),
            share_ignored_now=_share(ignored),
            advice="scores of the two models are of different parts of the image; the champion keeps its own mask",
        )


def _read_mask(line: Line, delivered_px: tuple[int, int], limits: DecodeLimits) -> Ignored:
    path, knob = Path(line.area.ignore_mask), f"lines.{line.name}.area.ignore_mask"
    try:
        pixels, _ = decode(path.read_bytes(), limits)
    except OSError as error:
        raise ConfigurationError(
            f"{knob} names {path}, which cannot be read: {error.strerror}. Expected a picture, such as a PNG, in which "
            "what is ignored is not black; a relative path begins at the folder of the lines file."
        ) from error
    except UnreadableImageError as error:
        raise ConfigurationError(f"{knob} names {path}, which is no picture that can be read: {error}") from error
    mask = pixels > 0 if pixels.ndim == 2 else np.asarray(pixels.any(axis=2))
    (height, width), (rows, columns) = mask.shape, delivered_px
    # of the same aspect, if one could have been made of the other by resizing and rounding
    if abs(height * columns - width * rows) > max(rows, columns):
        raise ConfigurationError(
            f"{knob} names {path} of {width}×{height} px (width × height), expected {columns}×{rows} px as the images "
            "are delivered, or a size of the same aspect."
        )
    return resized_ignored(mask, delivered_px)


def _check_inside(line: Line, region_px: tuple[int, int, int, int], delivered_px: tuple[int, int]) -> None:
    left, top, width, height = region_px
    if left + width > delivered_px[1] or top + height > delivered_px[0]:
        raise ConfigurationError(
            f"lines.{line.name}.area.region_of_interest is {list(region_px)} (left, top, width, height) and reaches to "
            f"column {left + width} and row {top + height}; expected at most {delivered_px[1]} and {delivered_px[0]}, "
            "the size of the images as delivered."
        )


def _differ(one: Ignored | None, other: Ignored | None) -> bool:
    if one is None or other is None:
        return one is not other
    return not np.array_equal(one, other)


def _share(ignored: Ignored | None) -> float:
    return 0.0 if ignored is None else round(float(ignored.mean()), 4)
