"""Make the night's report from the tables and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import structlog

from cae_pipeline.adapters import storage
from cae_pipeline.adapters.decoding import decode
from cae_pipeline.adapters.results import queries
from cae_pipeline.detector.regions import Region
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ArtefactError, UnreadableImageError
from cae_pipeline.reporting import night as report
from cae_pipeline.reporting import pictures
from cae_pipeline.reporting.night import FlaggedImage, LineNight
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MAX_FLAGGED_SHOWN = 60
PICTURE_PX = 320

Row = dict[str, Any]


@dataclass(frozen=True)
class NightReport:
    """Where the report is, relative to the workspace and in full, and what it counts."""

    report: str
    path: Path
    num_images: int
    num_quarantined: int
    num_flagged: int


def report_path(night: date) -> Path:
    """Where a night's report lies, relative to the workspace."""
    return Path("reports") / f"{night}.html"


def publish_night(night: date, lines: Sequence[Line], services: Services) -> NightReport:
    """Write one self-contained HTML file over all lines; making it again replaces it."""
    rows = queries.night_rows(services.engine, night)
    nights = [_line_night(line, rows, services) for line in services.progress(lines, total=len(lines), doing="publish")]
    path = services.workspace / report_path(night)
    html = report.render_night(night, nights, made_at=services.clock())
    storage.write_atomically(path, html.encode())
    result = NightReport(
        str(report_path(night)),
        path,
        *(sum(one.counts[name] for one in nights) for name in ("images", "quarantined", "flagged")),
    )
    log.info(
        "night_published",
        night=str(night),
        report=str(path),
        images=result.num_images,
        quarantined=result.num_quarantined,
        flagged=result.num_flagged,
    )
    return result


def _line_night(line: Line, rows: dict[str, list[Row]], services: Services) -> LineNight:
    own = {kind: [row for row in found if row["line"] == line.name] for kind, found in rows.items()}
    # rows come in the order of scoring, so the last one of an image is how it was judged last
    latest = {(row["batch_key"], row["image_id"]): row for row in own["scores"]}
    flagged = sorted((row for row in latest.values() if row["is_anomalous"]), key=lambda row: -row["score"])
    quarantined = [row for row in own["images"] if row["status"] != "accepted"]
    judged = {(row["batch_key"], row["name"]) for row in latest.values()}
    last = own["scores"][-1] if own["scores"] else None
    delivered = {(row["batch_key"], row["name"]): row for row in own["images"]}
    return LineNight(
        line=line.name,
        description=line.description,
        batches=own["batches"],
        counts={
            "images": len(own["images"]),
            "quarantined": sum(
                row["status"] == "quarantined" and (row["batch_key"], row["name"]) not in judged for row in quarantined
            ),
            "failed": sum(row["status"] == "failed" for row in quarantined),
            "scored": len(latest),
            "flagged": len(flagged),
            "waiting": sum(
                row["status"] == "accepted" and (row["batch_key"], row["name"]) not in judged for row in own["images"]
            ),
        },
        quarantined=sorted(quarantined, key=lambda row: (row["reason"], row["batch_id"], row["name"])),
        flagged=[
            _flagged(row, delivered[(row["batch_key"], row["name"])], services) for row in flagged[:MAX_FLAGGED_SHOWN]
        ],
        num_flagged=len(flagged),
        model_version=last["model_version"] if last else "",
        threshold=last["threshold"] if last else None,
        target_false_alarm_rate=line.target_false_alarm_rate,
        histogram=report.histogram_of([row["score"] for row in latest.values()], last["threshold"]) if last else None,
        diagnosis=own["drift"][-1] if own["drift"] else None,
    )


def _flagged(row: Row, image: Row, services: Services) -> FlaggedImage:
    picture = map_picture = ""
    try:
        path = services.landing.path(row["line"], row["batch_id"], image["name"])
        pixels, _ = decode(path.read_bytes(), services.limits)
        # a map is in units of the threshold it was scored with; another one may be in force by now
        multiples = pictures.decode_map(services.workspace / row["map_uri"]) * (row["map_unit"] / row["threshold"])
        places = [Region(**region) for region in row["regions"]]
        picture = pictures.data_uri(pixels, max_px=PICTURE_PX)
        map_picture = pictures.data_uri(pictures.framed(pictures.overlay(pixels, multiples), places), max_px=PICTURE_PX)
    except (OSError, UnreadableImageError, ArtefactError) as error:
        # the row is the truth; a report without a picture is better than no report
        log.warning("picture_left_out", name=image["name"], problem=str(error))
    return FlaggedImage(
        name=image["name"],
        batch_id=row["batch_id"],
        image_id=row["image_id"],
        score=row["score"],
        p_value=row["p_value"],
        num_regions=len(row["regions"]),
        picture=picture,
        map_picture=map_picture,
    )
