"""The night's report as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from cae_pipeline.reporting.histogram import sort_into_bars
from cae_pipeline.reporting.pages import render_page


@dataclass(frozen=True)
class FlaggedImage:
    """One flagged image as the report shows it; `reason` is what is odd about it besides.

    The pictures are `data:` addresses, or empty.
    """

    name: str
    batch_id: str
    image_id: str
    score: float
    p_value: float
    num_regions: int
    reason: str
    picture: str
    map_picture: str


@dataclass(frozen=True)
class Histogram:
    """Bars of the score distribution, in shares of the drawing's height and width."""

    bars: tuple[tuple[float, float, float, bool], ...]  # left, width, height, above the threshold
    threshold_at: float
    highest: float


@dataclass(frozen=True)
class LineNight:
    """What the report says of one line.

    Attributes:
        batches: Those it tells of, of this night and late ones of earlier nights.
        is_working_day: Whether images were expected at all.
        told_later: Batches of this night that came late, so that another night's report tells of them.
        counts: Images by what became of them.
        reasons: How many images have each reason.
        odd: Images that are quarantined, failed or out of limits, with their reason; not all where there are many.
    """

    line: str
    description: str
    batches: Sequence[Any]
    is_working_day: bool
    told_later: Sequence[Any]
    counts: dict[str, int]
    reasons: Mapping[str, int]
    odd: Sequence[Any]
    flagged: Sequence[FlaggedImage]
    num_flagged: int
    model_version: str
    threshold: float | None
    target_false_alarm_rate: float
    histogram: Histogram | None
    diagnosis: Mapping[str, Any] | None


def render_night(
    night: date, lines: Sequence[LineNight], *, unclaimed: Sequence[object] = (), made_at: datetime
) -> str:
    """Render the report of one night over all lines.

    Args:
        night: Whose report it is.
        lines: What is said of each.
        unclaimed: What lies in the landing zone and belongs to no line, one sentence each.
        made_at: Now, on the plant's clock.
    """
    return render_page("night.html", night=night, lines=lines, unclaimed=list(map(str, unclaimed)), made_at=made_at)


def render_decision(page: Mapping[str, Any], *, made_at: datetime) -> str:
    """Render the page about one decision of the gate.

    Args:
        page: `challenger`, `champion` (or None), `decision`, what became of it in a `word`, and the `author`.
    """
    return render_page("gate.html", **page, made_at=made_at)


def histogram_of(scores: Sequence[float], threshold: float) -> Histogram | None:
    """Sort scores into bars; the last one holds all beyond the scale. None where there are no scores."""
    if not scores:
        return None
    sorted_scores = sort_into_bars({"night": np.asarray(scores, np.float64)}, threshold=threshold)
    edges, shares = sorted_scores.edges, sorted_scores.shares["night"]
    highest = float(edges[-1])
    bars = tuple(
        (float(left / highest), 1 / len(shares), float(share / shares.max()), bool((left + right) / 2 > threshold))
        for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True)
    )
    return Histogram(bars, min(threshold / highest, 1.0), highest)
