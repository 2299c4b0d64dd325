"""Flagged images for somebody without our software: names of files, rows of a CSV, and a page."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

from cae_pipeline.domain.outcome import Region
from cae_pipeline.reporting.pages import render_page

MAX_NAME = 60
"""Letters of an image's own name that are kept: some systems allow 260 for a whole path."""
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class ExportedImage:
    """One row of the CSV.

    Attributes:
        number: From 1, in the order of the export; names of files begin with it.
        name: As it was delivered.
        times_threshold: The score in multiples of the threshold.
        regions: Boxes in pixels as delivered, worst first, as JSON.
        region_x_px: Left edge of the worst box; empty without a box, as are the next three.
        picture: File of the image, relative to the CSV; empty if there is none.
        overlay: File of the image with map and boxes, relative to the CSV; empty if there is none.
        problem: Why something could not be exported; empty if everything was.
    """

    number: int
    line: str
    batch_id: str
    night: date
    name: str
    score: float
    threshold: float
    times_threshold: float
    p_value: float
    verdict: str
    num_regions: int
    region_x_px: int | None
    region_y_px: int | None
    region_width_px: int | None
    region_height_px: int | None
    regions: str
    picture: str
    overlay: str
    problem: str
    width_px: int
    height_px: int
    image_id: str
    model_version: str
    scored_at: datetime


@dataclass(frozen=True)
class Card:
    """One image on the page; the small pictures are `data:` addresses, or empty."""

    row: ExportedImage
    picture: str
    overlay: str


def safe_name(number: int, name: str) -> str:
    """Make a name for files, without ending, that every system takes and no other image of the export has.

    Example:
        >>> safe_name(7, "cam2/part #1 100% + ä.png")
        '00007_cam2_part_1_100_a'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", plain)
    kept = re.sub(r"[^A-Za-z0-9-]+", "_", stem).strip("_-")[:MAX_NAME].rstrip("_-")
    return f"{number:05}_{kept}" if kept else f"{number:05}"


def boxes_as_json(regions: Sequence[Region]) -> str:
    """Write boxes as a JSON array of objects."""
    return json.dumps([asdict(region) for region in regions])


def render_csv(rows: Iterable[ExportedImage], *, with_head: bool) -> bytes:
    """Write rows as CSV in UTF-8, with the mark that spreadsheets know it by before the head.

    A text that a spreadsheet would take for a formula gets an apostrophe in front: names of files come from outside.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if with_head:
        text.write("\ufeff")
        writer.writerow(ExportedImage.__dataclass_fields__)
    for row in rows:
        writer.writerow([_harmless(value) for value in asdict(row).values()])
    return text.getvalue().encode("utf-8", "backslashreplace")


def render_index(cards: Sequence[Card], *, num_images: int, num_problems: int, made_at: datetime) -> bytes:
    """Write the page that shows the images beside their overlays.

    Args:
        cards: The first images of the export.
        num_images: All that there are in the CSV.
        num_problems: Those of which something could not be exported.
        made_at: When, in UTC.
    """
    page = render_page("export.html", cards=cards, num_images=num_images, num_problems=num_problems, made_at=made_at)
    return page.encode("utf-8", "backslashreplace")


def _harmless(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, str) and value.startswith(_BEGINS_A_FORMULA):
        return f"'{value}"
    return value
