"""Write flagged images into a folder that somebody without our software can open."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import structlog

from cae_pipeline.adapters.results.model_versions import find_version
from cae_pipeline.adapters.results.queries import flagged
from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter, AnomalyRow, list_anomalies
from cae_pipeline.adapters.results.queries.images import show_image
from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.domain.outcome import ScoredImage
from cae_pipeline.errors import ArtefactError, ConfigurationError, NotFoundError, UnreadableImageError
from cae_pipeline.reporting import export, pictures
from cae_pipeline.reporting.export import Card, ExportedImage
from cae_pipeline.steps.night.draw import DrawnImage, draw_image
from cae_pipeline.steps.outputs import write_output
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

ROWS_AT_ONCE = 200
"""Images whose rows are in memory at once, however many there are."""
MAX_CARDS = 200
"""Images on the page: with more it would be slow to open."""
CARD_PX = 320
MODES_SHOWN = ("1", "L", "LA", "P", "RGB", "RGBA")
"""Pillow's modes that a browser shows as we do; files of other modes are exported as a PNG of 8 bits."""
ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"BM": ".bmp"}


@dataclass(frozen=True)
class Export:
    """What was written where."""

    folder: str
    index: str
    num_images: int
    num_problems: int


def export_anomalies(
    folder: Path, wanted: AnomalyFilter, services: Services, *, sort: str = "-score", limit: int | None = None
) -> Export:
    """Write the picture, the overlay and the figures of each flagged image, and a page over the first of them.

    An image whose file is gone or has changed has a row that says so. The folder appears when it is whole.

    Args:
        folder: A new folder, or an empty one.
        wanted: Which images.
        services: The outside world.
        sort: Column that images are sorted by; a minus before it turns the order around.
        limit: Images at most; None is all.

    Raises:
        ConfigurationError: If the folder holds something, lies in the landing zone or cannot be written.
        NotFoundError: If there is no such column.
    """
    target = folder.absolute()
    _check_target(target, services)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:40]}-", suffix=".part") as part:
            fresh = Path(part) / "export"
            rows = islice(_rows(wanted, sort, services), limit)
            num_images, num_problems = _write_all(fresh, rows, services)
            if target.exists():
                target.rmdir()
            fresh.rename(target)
    except OSError as error:
        raise ConfigurationError(
            f"{target} cannot be written: {error.strerror}. Expected a new folder where files can be written."
        ) from error
    return Export(str(target), str(target / "index.html"), num_images, num_problems)


def draw_one(digits: str, path: Path, services: Services) -> Path:
    """Write the overlay of one image, flagged or not, as it was judged last.

    Args:
        digits: Its sha256, or enough of the first digits to be the only one.
        path: PNG that is written.

    Raises:
        NotFoundError: If there is no such image, or it has no score.
        ConfigurationError: If the file cannot be written.
        ArtefactError: If the image's file is gone or has changed.
    """
    with services.read() as connection:
        history = show_image(connection, digits)
        judged = [one.model_version for one in history.judgements if one.is_current and one.score is not None]
        if not judged:
            raise NotFoundError("score of image", digits, advice=f"`cae images show {digits}` says what became of it.")
        rows = flagged.scored_images(connection, find_version(connection, judged[-1]), [history.image_id])
    try:
        drawn = draw_image(rows[-1], services)
    except (OSError, UnreadableImageError) as error:
        raise ArtefactError(f"{rows[-1].batch_id}/{rows[-1].name} cannot be drawn: {error}") from error
    write_output(path, pictures.encode_png(drawn.overlay))
    return path


def _check_target(target: Path, services: Services) -> None:
    if target.is_dir() and any(target.iterdir()):
        raise ConfigurationError(
            f"{target} holds files already, and nothing is overwritten. Expected a new folder, or an empty one."
        )
    if target.exists() and not target.is_dir():
        raise ConfigurationError(f"{target} is a file; expected a new folder, or an empty one.")
    if target.resolve().is_relative_to(services.landing.folder.resolve()):
        raise ConfigurationError(
            f"{target} lies in the landing zone, where it would be taken for a batch. Expected another folder."
        )


def _rows(wanted: AnomalyFilter, sort: str, services: Services) -> Iterator[tuple[AnomalyRow, ScoredImage]]:
    """List flagged images a page at a time, each with what its picture needs."""
    number = 0
    while True:
        number += 1
        with services.read() as connection:
            page = list_anomalies(connection, wanted, Page(sort, number, ROWS_AT_ONCE))
            details: dict[tuple[str, str, str, str], ScoredImage] = {}
            for model_version in {row.model_version for row in page}:
                version = find_version(connection, model_version)
                image_ids = [row.image_id for row in page if row.model_version == model_version]
                for one in flagged.scored_images(connection, version, image_ids):
                    details[one.line, one.batch_id, one.name, one.model_version] = one
        for row in page:
            scored = details.get((row.line, row.batch_id, row.name, row.model_version))
            if scored is not None:
                yield row, replace(scored, threshold=row.threshold)
        if len(page) < ROWS_AT_ONCE:
            return


def _write_all(folder: Path, rows: Iterator[tuple[AnomalyRow, ScoredImage]], services: Services) -> tuple[int, int]:
    """Write everything; returns the number of images, and of those that something is missing of."""
    for name in ("pictures", "overlays"):
        (folder / name).mkdir(parents=True)
    cards: list[Card] = []
    num_images = num_problems = 0
    with (folder / "anomalies.csv").open("wb") as file:
        file.write(export.render_csv([], with_head=True))
        for num_images, (row, scored) in enumerate(rows, start=1):
            card = _write_one(folder, num_images, (row, scored), services)
            file.write(export.render_csv([card.row], with_head=False))
            num_problems += bool(card.row.problem)
            if len(cards) < MAX_CARDS:
                cards.append(card)
    page = export.render_index(cards, num_images=num_images, num_problems=num_problems, made_at=services.clock())
    (folder / "index.html").write_bytes(page)
    return num_images, num_problems


def _write_one(folder: Path, number: int, found: tuple[AnomalyRow, ScoredImage], services: Services) -> Card:
    row, scored = found
    try:
        drawn = draw_image(scored, services)
    except (FileNotFoundError, NotADirectoryError):
        return Card(_exported(number, row, scored, problem="the image's file is gone"), "", "")
    except OSError as error:
        return Card(_exported(number, row, scored, problem=f"the image cannot be read: {error.strerror}"), "", "")
    except (ArtefactError, UnreadableImageError) as error:
        return Card(_exported(number, row, scored, problem=str(error)), "", "")
    content, ending = _as_people_open_it(drawn)
    stem = export.safe_name(number, row.name)
    files = {"picture": f"pictures/{stem}{ending}", "overlay": f"overlays/{stem}.png"}
    (folder / files["picture"]).write_bytes(content)
    (folder / files["overlay"]).write_bytes(pictures.encode_png(drawn.overlay))
    small = [pictures.data_uri(one, max_px=CARD_PX) for one in (drawn.pixels, drawn.overlay)]
    return Card(_exported(number, row, scored, problem=drawn.problem, **files), *small)


def _as_people_open_it(drawn: DrawnImage) -> tuple[bytes, str]:
    """The file as delivered where a browser shows it, else a PNG of it."""
    for start, ending in ENDINGS.items():
        if drawn.content.startswith(start) and drawn.mode in MODES_SHOWN:
            return drawn.content, ending
    return pictures.encode_png(drawn.pixels), ".png"


def _exported(
    number: int, row: AnomalyRow, scored: ScoredImage, *, problem: str, picture: str = "", overlay: str = ""
) -> ExportedImage:
    boxes = [(one.x_px, one.y_px, one.width_px, one.height_px) for one in scored.regions]
    left, top, width, height = boxes[0] if boxes else (None,) * 4
    return ExportedImage(
        number=number,
        line=row.line,
        batch_id=row.batch_id,
        night=row.night,
        name=row.name,
        score=row.score,
        threshold=row.threshold,
        times_threshold=row.score / row.threshold,
        p_value=row.p_value,
        verdict=row.verdict,
        num_regions=len(scored.regions),
        region_x_px=left,
        region_y_px=top,
        region_width_px=width,
        region_height_px=height,
        regions=export.boxes_as_json(scored.regions),
        picture=picture,
        overlay=overlay,
        problem=problem,
        width_px=scored.width_px,
        height_px=scored.height_px,
        image_id=row.image_id,
        model_version=row.model_version,
        scored_at=row.scored_at,
    )
