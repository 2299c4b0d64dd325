"""A results database as version 0.1.0 of the package left it at schema 0003: every table, several rows of each.

It is built by the migrations up to 0003 and from plain rows, never by the package's current row types, so that
what a migration is tested with stays what it was.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

import cae_pipeline
from tests import old_rows as old
from tests.old_rows import Row, batch_key

MIGRATIONS = Path(cae_pipeline.__file__).parent / "adapters" / "results" / "migrations"

TRAINED, OLDER = batch_key("washers", "normal-1"), batch_key("washers", "2026-01-29")
FIRST, SECOND = batch_key("washers", "2026-01-30"), batch_key("washers", "2026-01-30", number=2)
"""Two deliveries of one batch_id."""
WAITING, REJECTED = batch_key("washers", "2026-01-31"), batch_key("washers", "2026-01-31-late")
TILES_TRAINED, TILES = batch_key("tiles", "normal-1"), batch_key("tiles", "2026-01-30")
W1, W2, W3, T1, T2 = "cae-washers/1", "cae-washers/2", "cae-washers/3", "cae-tiles/1", "cae-tiles/2"


def write_old_database(url: str) -> None:
    """Fill a database that has no tables yet with `old_tables`."""
    engine = sa.create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    metadata = sa.MetaData()
    metadata.reflect(engine)
    with engine.begin() as connection:
        for name, rows in old_tables().items():
            for row in rows:
                # one by one: the database numbers thresholds, events, verdicts and retrainings in this order, from 1
                connection.execute(sa.insert(metadata.tables[name]).values(**row))
    engine.dispose()


def read_tables(url: str) -> dict[str, list[Row]]:
    """Read every row of every table, whatever the tables are; times are aware and in UTC."""
    engine = sa.create_engine(url)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    tables: dict[str, list[Row]] = {}
    with engine.connect() as connection:
        for name, table in metadata.tables.items():
            rows = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
            tables[name] = [{column: _in_utc(value) for column, value in row.items()} for row in rows]
    engine.dispose()
    return tables


def old_tables() -> dict[str, list[Row]]:
    """Every row by its table, parents before those that point at them."""
    images = _images()
    by_key = {key: [row for row in images if row["batch_key"] == key] for key in {row["batch_key"] for row in images}}
    return {
        "batches": [
            old.batch("washers", "normal-1", "validated", 1, by_key[TRAINED]),
            old.batch("washers", "2026-01-29", "scored", 29, by_key[OLDER]),
            old.batch("washers", "2026-01-30", "scored", 30, by_key[FIRST]),
            old.batch("washers", "2026-01-30", "scored", 30, by_key[SECOND], number=2),
            old.batch("washers", "2026-01-31", "validated", 31, by_key[WAITING]),
            old.batch("washers", "2026-01-31-late", "rejected", 31, by_key[REJECTED]),
            old.batch("tiles", "normal-1", "validated", 2, by_key[TILES_TRAINED]),
            old.batch("tiles", "2026-01-30", "scored", 30, by_key[TILES]),
        ],
        "images": images,
        "releases": [old.release(row, day=30) for row in images if row["name"] in {"dark.png", "wide.png"}],
        "model_versions": [
            old.model_version("washers", 1, day=2),
            old.model_version("washers", 2, day=20),
            old.model_version("washers", 3, day=25),
            old.model_version("tiles", 1, day=3),
            old.model_version("tiles", 2, day=26),
        ],
        "snapshots": [
            *old.snapshot(W1, by_key[TRAINED], ["train", "train", "validation", "calibration"]),
            *old.snapshot(W2, by_key[TRAINED], ["calibration", "train", "train", "validation"]),
            *old.snapshot(W3, by_key[TRAINED][:3], ["train", "validation", "calibration"]),
            *old.snapshot(T1, by_key[TILES_TRAINED], ["train", "calibration"]),
        ],
        "thresholds": [
            old.threshold(W1, 2.0, 2),
            old.threshold(W1, 2.25, 10, "given", author="ada", note="fewer false alarms"),
            old.threshold(W2, 1.5, 20),
            old.threshold(W2, 1.75, 28, "f1", num_defective=12, author="bob"),
            old.threshold(T1, 3.0, 3),
            old.threshold(T1, 2.5, 12, "cost", num_defective=30, author="ada"),
            old.threshold(W3, 1.0, 25),
            old.threshold(T2, 2.0, 26),
        ],
        "scores": _scores({(row["batch_key"], row["name"]): row for row in images}),
        "champions": [
            {"line": "washers", "model_version": W1, "threshold_id": 2},
            {"line": "tiles", "model_version": T1, "threshold_id": 6},
        ],
        "promotions": _ledger(),
        "verdicts": [
            old.verdict("bite", "unsure", "bob", 30),
            old.verdict("bite", "defect", "ada", 31, "a bite"),
            old.verdict("ring", "normal", "ada", 31),
            old.verdict("crack", "defect", "label-studio:7", 31),
        ],
        "drift_reports": [
            old.drift_report(W1, 29, "none", "nothing has moved"),
            old.drift_report(W1, 30, "camera", "brightness has moved", "by 0.5"),
            old.drift_report(T1, 30, "defects", "more high scores than promised"),
        ],
        "retrainings": [
            old.retraining("washers", "verdicts", "50 images were judged", 15),
            old.retraining("tiles", "drift", "product: the latent has moved", 24),
        ],
        "alerts": [
            old.alert("batch_rejected", "washers", 31, attempts=1, delivered=True),
            old.alert("drift", "washers", 30, attempts=2, delivered=False),
            old.alert("challenger_refused", "washers", 25, attempts=50, delivered=False),
            old.alert("no_batch", "tiles", 31, attempts=0, delivered=False),
        ],
    }


def _images() -> list[Row]:
    """Members of all deliveries; the same picture bears the same name in every one of them."""
    before_colour: Row = {"red_share": None, "blue_share": None}
    return [
        *(old.image(TRAINED, f"n{n}.png", f"normal {n}", **before_colour) for n in range(4)),
        old.image(OLDER, "bite.png", "bite"),
        old.image(OLDER, "ring.png", "ring"),
        old.image(OLDER, "dark.png", "dark", "too_dark"),
        old.image(OLDER, "torn.png", "torn", "truncated"),
        old.image(OLDER, "swapped.png", "swapped", "scoring_failed"),
        old.image(FIRST, "a.png", "a"),
        old.image(FIRST, "note.png", "note", "not_an_image"),
        # delivered again with what had been forgotten
        old.image(SECOND, "a.png", "a"),
        old.image(SECOND, "b.png", "b"),
        old.image(SECOND, "note.png", "note", "not_an_image"),
        old.image(WAITING, "c.png", "c"),
        old.image(WAITING, "ring-again.png", "ring", "duplicate"),
        old.image(WAITING, "near.png", "near", "near_duplicate"),
        old.image(WAITING, "gone.png", "gone", "missing"),
        # released, and not scored yet
        old.image(WAITING, "wide.png", "wide", "wrong_size", width_px=96),
        old.image(REJECTED, "d.png", "d", "batch_rejected"),
        old.image(REJECTED, "e.png", "e", "too_dark"),
        *(old.image(TILES_TRAINED, f"n{n}.png", f"tile {n}") for n in range(2)),
        old.image(TILES, "crack.png", "crack"),
        old.image(TILES, "tile.png", "whole tile"),
        # a picture that the other line has delivered as well
        old.image(TILES, "ring.png", "ring"),
    ]


def _scores(images: dict[tuple[str, str], Row]) -> list[Row]:
    bite, ring, dark = (images[OLDER, name] for name in ("bite.png", "ring.png", "dark.png"))
    return [
        # before scores kept the latent
        old.score(bite, W1, 4.5, code=None, p_value=0.05),
        old.score(ring, W1, 2.0, code=None),
        old.score(dark, W1, 0.5, p_value=1.0),
        # the second model agrees on one and not on the other
        old.score(bite, W2, 5.0, p_value=0.05),
        old.score(ring, W2, 2.0),
        old.score(images[FIRST, "a.png"], W1, 1.0),
        old.score(images[SECOND, "a.png"], W1, 1.0),
        old.score(images[SECOND, "b.png"], W1, 3.0),
        old.score(images[TILES, "crack.png"], T1, 7.0),
        old.score(images[TILES, "tile.png"], T1, 0.0),
        old.score(images[TILES, "ring.png"], T1, 1.0),
    ]


def _ledger() -> list[Row]:
    """Events as they came, the lines in between each other; tiles/2 still waits for a person."""
    refused = ["ok: all figures are finite", "REFUSED: synthetic AUROC 0.400, wanted at least 0.700"]
    return [
        old.event("promotion", ("", W1), (None, 1), 2),
        old.event("promotion", ("", T1), (None, 5), 3),
        old.event("threshold", (W1, W1), (1, 2), 10, author="ada", note="fewer false alarms", reasons=[]),
        old.event("threshold", (T1, T1), (5, 6), 12, author="ada", figures={"before": 3.0}, reasons=[]),
        old.event("awaits_approval", (W1, W2), (2, 3), 21),
        old.event("promotion", (W1, W2), (2, 3), 22, author="boss", dag_run_id="manual__2026-01-22"),
        old.event("refusal", (W2, W3), (3, 7), 25, reasons=refused),
        old.event("awaits_approval", (T1, T2), (6, 8), 26),
        old.event("threshold", (W2, W2), (3, 4), 28, author="bob", reasons=[]),
        old.event("rollback", (W2, W1), (4, 2), 29, author="bob", note="lens was dirty", reasons=[], figures={}),
    ]


def _in_utc(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
