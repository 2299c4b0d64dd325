"""Anomaly map → the places that an image is flagged for, as boxes on the image as it was delivered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.outcome import Region

REGION_SHARE = 0.5
"""A region reaches out to where the map falls below this share of the threshold."""
PEAK_SHARE = 0.25
"""A region ends where the map falls below this share of the region's own peak: a glaring defect raises everything
around it above the threshold."""


def regions(anomaly_map: Floats, *, threshold: float, delivered_px: tuple[int, int]) -> tuple[Region, ...]:
    """Find the connected places that a flagged image is flagged for.

    Each region holds a place above the threshold. It reaches out to where the map falls below half of the threshold, or
    below a quarter of the region's own peak.

    Args:
        anomaly_map: Shape `(h, w)`, float32.
        threshold: Of the score; an image without a place above it has no regions.
        delivered_px: Height and width of the image as delivered, to which boxes are scaled.

    Returns:
        The regions, the one with the highest peak first.
    """
    if anomaly_map.max() <= threshold:
        return ()
    labels, _ = ndimage.label(anomaly_map > REGION_SHARE * threshold, structure=np.ones((3, 3)))
    scale = (delivered_px[0] / anomaly_map.shape[0], delivered_px[1] / anomaly_map.shape[1])
    flagged_regions = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        belongs = labels[box] == label
        peak = float(anomaly_map[box][belongs].max())
        if peak > threshold:
            reaches = belongs & (anomaly_map[box] >= PEAK_SHARE * peak)
            flagged_regions.append(_region(reaches, box, peak=peak, scale=scale))
    return tuple(sorted(flagged_regions, key=lambda region: -region.peak))


def _region(reaches: NDArray[np.bool_], box: tuple[slice, ...], *, peak: float, scale: tuple[float, float]) -> Region:
    """Describe one region in pixels of the delivered image.

    Args:
        reaches: Which places of the box belong to the region.
        box: Rows and columns of the map that `reaches` covers.
        peak: Highest value of the map in the region.
        scale: Pixels of the delivered image per row and per column of the map.
    """
    down, across = scale
    rows = _narrowed(box[0], np.flatnonzero(reaches.any(axis=1)))
    columns = _narrowed(box[1], np.flatnonzero(reaches.any(axis=0)))
    top, left = round(rows.start * down), round(columns.start * across)
    return Region(
        x_px=left,
        y_px=top,
        width_px=round(columns.stop * across) - left,
        height_px=round(rows.stop * down) - top,
        area_px=round(int(reaches.sum()) * down * across),
        peak=peak,
    )


def _narrowed(outer: slice, positions: NDArray[np.intp]) -> slice:
    """Narrow a slice to the part from the first to the last of some positions in it."""
    return slice(outer.start + int(positions[0]), outer.start + int(positions[-1]) + 1)
