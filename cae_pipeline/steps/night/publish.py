"""Make the night's report from the tables and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path

import sqlalchemy as sa
import structlog

from cae_pipeline.adapters import storage
from cae_pipeline.adapters.results import drift_reports, reports
from cae_pipeline.adapters.results.queries import flagged, nights
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import ScoredImage
from cae_pipeline.errors import ArtefactError, UnreadableImageError
from cae_pipeline.reporting import night as report
from cae_pipeline.reporting import pictures
from cae_pipeline.reporting.night import FlaggedImage, LineNight
from cae_pipeline.steps.night.draw import draw_image
from cae_pipeline.steps.night.unclaimed import find_unclaimed
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MAX_FLAGGED_SHOWN = 60
MAX_ODD_SHOWN = 500
MAX_MADE_AGAIN = 10
"""Earlier reports that one run makes again, the newest; the next runs make the others: a new champion may finish anew
what has failed in years."""
PICTURE_PX = 320


@dataclass(frozen=True)
class NightReport:
    """Where the report is, relative to the workspace and in full, and what it counts.

    Attributes:
        made_again: Earlier nights whose report was made again, because a batch it tells of was worked on since.
    """

    report: str
    path: Path
    num_images: int
    num_quarantined: int
    num_flagged: int
    made_again: tuple[str, ...] = ()


def report_path(night: date) -> Path:
    """Where a night's report lies, relative to the workspace."""
    return Path("reports") / f"{night}.html"


def publish_night(night: date, lines: Sequence[Line], services: Services) -> NightReport:
    """Write one self-contained HTML file over all lines; making it again replaces it.

    It tells of the batches of that night, and of what was done since with those of earlier nights, as where one came
    late: each batch is told of by one report. The reports of nights that were worked on again are made again too.
    """
    with services.read() as connection:
        stale = [earlier for earlier in reports.stale_nights(connection) if earlier != night][-MAX_MADE_AGAIN:]
    for earlier in stale:
        _write_report(earlier, lines, services)
    made = _write_report(night, lines, services)
    return replace(made, made_again=tuple(map(str, stale)))


def _write_report(night: date, lines: Sequence[Line], services: Services) -> NightReport:
    listed_at = services.clock()
    told = [_line_night(line, night, services) for line in services.progress(lines, total=len(lines), doing="publish")]
    path = services.workspace / report_path(night)
    unclaimed = find_unclaimed(services.landing.folder, lines)
    html = report.render_night(night, told, unclaimed=unclaimed, made_at=services.local_time())
    storage.write_atomically(path, html.encode())
    with services.write() as work:
        keys = [batch.delivery_key for one in told for batch in one.batches]
        # as of before the figures were read: what was finished meanwhile is told of again
        reports.mark_told(work.connection, keys, night, at=listed_at)
        work.commit()
    num_images, num_quarantined = (sum(one.counts[name] for one in told) for name in ("images", "quarantined"))
    num_flagged = sum(one.num_flagged for one in told)
    log.info("night_published", night=str(night), report=str(path), num_images=num_images, num_flagged=num_flagged)
    return NightReport(str(report_path(night)), path, num_images, num_quarantined, num_flagged)


def _line_night(line: Line, night: date, services: Services) -> LineNight:
    """Everything the report says of one line."""
    with services.read() as connection:
        keys = [row.delivery_key for row in reports.deliveries_told_by(connection, line.name, night)]
        counts = nights.rates_of(connection, line.name, night, keys)
        scores = flagged.scores_of(connection, keys)
        shown = flagged.flagged_of(connection, keys, limit=MAX_FLAGGED_SHOWN)
        return LineNight(
            line=line.name,
            description=line.description,
            batches=nights.batches_of(connection, keys),
            is_working_day=services.calendar_of(line).works_on(night),
            told_later=reports.told_later(connection, line.name, night),
            counts={**_counts(counts), "waiting": counts.num_waiting},
            reasons=nights.reasons_of(connection, keys),
            odd=nights.odd_images_of(connection, keys, limit=MAX_ODD_SHOWN),
            flagged=[_flagged_image(row, services) for row in shown],
            num_flagged=flagged.count_flagged(connection, keys),
            model_version=scores.model_version if scores else "",
            threshold=scores.threshold if scores else None,
            target_false_alarm_rate=line.target_false_alarm_rate,
            histogram=report.histogram_of(scores.scores, scores.threshold) if scores else None,
            diagnosis=_diagnosis(connection, line, night),
        )


def _counts(rates: nights.RateRow) -> dict[str, int]:
    names = ("images", "quarantined", "failed", "out_of_limits", "scored", "flagged")
    return {name: getattr(rates, f"num_{name}") for name in names}


def _diagnosis(connection: sa.Connection, line: Line, night: date) -> dict[str, object] | None:
    found = drift_reports.drift_of_night(connection, night).get(line.name)
    return asdict(found) if found else None


def _flagged_image(row: ScoredImage, services: Services) -> FlaggedImage:
    picture, map_picture = _pictures(row, services)
    return FlaggedImage(
        name=row.name,
        batch_id=row.batch_id,
        image_id=row.image_id,
        score=row.score,
        p_value=row.p_value,
        num_regions=len(row.regions),
        reason=row.reason,
        picture=picture,
        map_picture=map_picture,
    )


def _pictures(row: ScoredImage, services: Services) -> tuple[str, str]:
    """The image and its map as `data:` addresses; empty if they cannot be shown, which stops no report."""
    try:
        drawn = draw_image(row, services)
        return pictures.data_uri(drawn.pixels, max_px=PICTURE_PX), pictures.data_uri(drawn.overlay, max_px=PICTURE_PX)
    except (OSError, UnreadableImageError, ArtefactError) as error:
        log.warning("picture_left_out", name=row.name, problem=str(error))
        return "", ""
