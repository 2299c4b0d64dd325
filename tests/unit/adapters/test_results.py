from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cae_pipeline.adapters.results import batches as batch_rows
from cae_pipeline.adapters.results import database, ledger, models, pool, queries, scored, verdicts
from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results.ledger import Stamp
from cae_pipeline.adapters.results.queries import Page
from cae_pipeline.adapters.results.schema import VIEWS, UtcDateTime, champions, metadata, promotions, scores
from cae_pipeline.domain.batch import Batch, BatchStatus, ImageRecord, ImageStatus, Member, Reason
from cae_pipeline.domain.promotion import Decision
from cae_pipeline.domain.verdict import Verdict
from cae_pipeline.errors import CaeError, ConcurrentChangeError, ConfigurationError, NoChampionError, NotFoundError
from cae_pipeline.statistics.conformal import Threshold

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def engine(results_url: str) -> sa.Engine:
    return database.open_database(results_url)


def _batch(batch_id: str = "2026-01-31") -> Batch:
    members = (Member("a.png", 3, "a" * 64), Member("b.png", 4, "b" * 64))
    return Batch("cells", batch_id, date(2026, 1, 31), members, "f" * 64)


def _record(engine: sa.Engine, batch: Batch) -> None:
    records = [
        ImageRecord("a.png", "a" * 64, 3, ImageStatus.ACCEPTED),
        ImageRecord("b.png", "b" * 64, 4, ImageStatus.QUARANTINED, Reason.TRUNCATED, "half of it"),
    ]
    outcome = {"status": BatchStatus.VALIDATED, "rejected_for": "", "data_docs_uri": "x.html", "dag_run_id": ""}
    batch_rows.record_batch(engine, batch, records, outcome=outcome, validated_at=NOW)


def _version(
    engine: sa.Engine, number: int, *, members: list[tuple[str, str, str]] | None = None
) -> models.ModelVersion:
    row = {
        "model_version": f"cae-cells/{number}",
        "line": "cells",
        "version": number,
        "run_id": "r",
        "artefact_uri": "runs:/r/scorer",
        "artefact_sha256": "c" * 64,
        "snapshot_sha256": "d" * 64,
        "figures": {"synthetic_auroc": 0.9},
        "registered_at": NOW,
    }
    return models.register(engine, row, Threshold(2.0, 0.05, 19, 19), members=members or [])


def _score(version: models.ModelVersion, **changes: Any) -> dict[str, Any]:
    row = {
        "batch_key": _batch().batch_key,
        "image_id": "a" * 64,
        "model_version": version.model_version,
        "name": "a.png",
        "score": 3.0,
        "p_value": 0.05,
        "threshold_id": version.threshold_id,
        "is_anomalous": True,
        "regions": [],
        "map_uri": "maps/a.png",
        "run_id": "r",
        "scored_at": NOW,
    }
    return row | changes


def test_the_migrations_build_exactly_the_schema(engine: sa.Engine) -> None:
    def same_type(_context: Any, _inspected: Any, ours: Any, _there: Any, target: Any) -> bool | None:
        return False if isinstance(target, UtcDateTime) else None

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": same_type})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == database.HEAD
        for name, text in VIEWS.items():
            connection.execute(sa.text(f"CREATE VIEW same_again AS {text}"))
            assert _definition(connection, name) == _definition(connection, "same_again")
            connection.execute(sa.text("DROP VIEW same_again"))


def _definition(connection: sa.Connection, view: str) -> str:
    """What the database keeps of a view's text: SQLite all of it, PostgreSQL what it has understood."""
    if connection.dialect.name == "postgresql":
        return str(connection.scalar(sa.text("SELECT pg_get_viewdef(CAST(:name AS regclass))"), {"name": view}))
    text = connection.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = :name"), {"name": view})
    return " ".join(str(text).removeprefix(f"CREATE VIEW {view} AS").split())


def test_opening_a_database_of_a_newer_version_is_refused(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="Install the version that wrote it"):
        database.open_database(str(engine.url))


def test_processes_that_open_a_new_database_at_once_all_succeed(new_database_url: str) -> None:
    code = f"from cae_pipeline.adapters.results.database import open_database; open_database({new_database_url!r})"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate()[1] for process in processes] == [b""] * 4
    assert database.schema_version(database.open_database(new_database_url)) == database.HEAD


@pytest.mark.sqlite_only("only a file has to be switched to write-ahead logging by whoever finds it first")
def test_connections_that_find_a_new_database_at_once_wait_for_each_other(tmp_path: Path) -> None:
    together = Barrier(6)

    def ask(url: str) -> str | None:
        together.wait()
        return database.schema_version(database.connect(url))

    with ThreadPoolExecutor(6) as threads:
        for number in range(50):
            assert set(threads.map(ask, [f"sqlite:///{tmp_path / str(number)}.db"] * 6)) == {None}


def test_recording_a_batch_twice_changes_nothing(engine: sa.Engine) -> None:
    _record(engine, _batch())
    _record(engine, _batch())
    row = batch_rows.find_batch(engine, _batch().batch_key)
    assert row is not None
    assert (row["num_images"], row["num_quarantined"], row["validated_at"]) == (2, 1, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": float("nan")},
        {"score": float("inf")},
        {"score": -1.0},
        {"score": None},
        {"p_value": 0.0},
        {"p_value": 1.5},
    ],
)
def test_the_database_itself_refuses_a_score_that_is_no_score(engine: sa.Engine, changes: dict[str, Any]) -> None:
    _record(engine, _batch())
    version = _version(engine, 1)
    # a plain insert: ON CONFLICT DO NOTHING must not be what swallows it
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(scores), [_score(version, **changes)])
    with pytest.raises(sa.exc.IntegrityError):
        scored.record_scores(engine, [_score(version, **changes)])


def test_a_score_written_twice_is_one_row_and_the_first_stays(engine: sa.Engine) -> None:
    _record(engine, _batch())
    version = _version(engine, 1)
    scored.record_scores(engine, [_score(version)])
    scored.record_scores(engine, [_score(version, score=9.0)])
    with engine.connect() as connection:
        assert connection.execute(sa.select(scores.c.score)).scalars().all() == [3.0]


def test_a_batch_is_finished_only_when_no_accepted_image_waits(engine: sa.Engine) -> None:
    _record(engine, _batch())
    version = _version(engine, 1)
    assert not batch_rows.finish_if_complete(engine, _batch().batch_key, finished_at=NOW)
    scored.record_scores(engine, [_score(version)])
    assert batch_rows.finish_if_complete(engine, _batch().batch_key, finished_at=NOW)
    assert not batch_rows.finish_if_complete(engine, _batch().batch_key, finished_at=NOW)


def _nights_before(engine: sa.Engine, *days: int) -> list[str]:
    """One scored, unflagged image in each of some earlier nights; returns their digests."""
    version, made = _version(engine, 1), []
    for number, night in enumerate(date(2026, 1, 31) - timedelta(days=count) for count in days):
        image_id = f"{number:064x}"
        batch = Batch("cells", str(night), night, (Member("a.png", 3, image_id),), f"{number:064x}")
        record = ImageRecord("a.png", image_id, 3, ImageStatus.ACCEPTED)
        outcome = {"status": BatchStatus.VALIDATED, "rejected_for": "", "data_docs_uri": "", "dag_run_id": ""}
        batch_rows.record_batch(engine, batch, [record], outcome=outcome, validated_at=NOW)
        score = _score(version, batch_key=batch.batch_key, image_id=image_id, score=1.0, p_value=0.5)
        scored.record_scores(engine, [score])
        made.append(image_id)
    return made


def test_old_images_are_presumed_normal_only_if_a_person_said_so(engine: sa.Engine) -> None:
    tonight, recent, old, old_but_judged = _nights_before(engine, 0, 59, 60, 300)
    verdicts.record_verdicts(engine, [Verdict(old_but_judged, "normal", "me", NOW, "")])
    found = [row["image_id"] for row in pool.presumably_normal(engine, "cells", newest_nights=60)]
    assert found == [tonight, recent, old_but_judged]
    assert old in {row["image_id"] for row in pool.presumably_normal(engine, "cells", newest_nights=61)}
    assert pool.presumably_normal(engine, "bottles", newest_nights=60) == []


def test_rates_are_worked_out_from_a_night_on(engine: sa.Engine) -> None:
    _nights_before(engine, 0, 1, 5)
    rates = queries.list_daily_rates(engine, "cells", Page("night"), since=date(2026, 1, 30))
    assert [row["night"] for row in rates] == [date(2026, 1, 30), date(2026, 1, 31)]


def test_what_cannot_be_decoded_cannot_be_released(engine: sa.Engine) -> None:
    _record(engine, _batch())
    with pytest.raises(CaeError, match="Have it delivered again"):
        image_rows.release(engine, _batch().batch_key, ["b.png"], author="me", note="", released_at=NOW)
    with pytest.raises(NotFoundError, match=r"Known: b.png"):
        image_rows.release(engine, _batch().batch_key, ["a.png"], author="me", note="", released_at=NOW)


def test_a_line_without_a_champion_is_a_clear_state(engine: sa.Engine) -> None:
    with pytest.raises(NoChampionError, match="images wait"):
        ledger.champion_of(engine, "cells")


def test_only_one_of_two_promotions_from_the_same_champion_succeeds(engine: sa.Engine) -> None:
    first, second, third = (_version(engine, number) for number in (1, 2, 3))
    yes = Decision(True, ("ok",))
    ledger.record_decision(engine, first, None, yes, Stamp("me", NOW))
    ledger.record_decision(engine, second, first, yes, Stamp("me", NOW))
    with pytest.raises(ConcurrentChangeError, match="somebody promoted in between") as caught:
        ledger.record_decision(engine, third, first, yes, Stamp("me", NOW))
    assert caught.value.retryable
    assert ledger.champion_of(engine, "cells").model_version == "cae-cells/2"
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(promotions)) == 2
        assert connection.scalar(sa.select(champions.c.threshold_id)) == second.threshold_id


def test_what_a_model_was_trained_on_is_kept_with_the_part_each_image_played(engine: sa.Engine) -> None:
    _record(engine, _batch())
    key = _batch().batch_key
    first = _version(engine, 1, members=[(key, "a.png", "train"), (key, "b.png", "calibration")])
    # the same images in other parts belong to another version
    second = _version(engine, 2, members=[(key, "a.png", "calibration"), (key, "b.png", "train")])
    assert models.snapshot_members(engine, first.model_version) == {(key, "a.png"), (key, "b.png")}
    assert models.snapshot_members(engine, first.model_version, part="calibration") == {(key, "b.png")}
    assert models.snapshot_members(engine, second.model_version, part="calibration") == {(key, "a.png")}


def test_a_refusal_is_in_the_ledger_and_changes_nobody(engine: sa.Engine) -> None:
    first, second = _version(engine, 1), _version(engine, 2)
    ledger.record_decision(engine, first, None, Decision(True, ("ok",)), Stamp("me", NOW))
    ledger.record_decision(engine, second, first, Decision(False, ("REFUSED: worse",)), Stamp("me", NOW))
    assert ledger.champion_of(engine, "cells").model_version == "cae-cells/1"
    with engine.connect() as connection:
        assert connection.scalars(sa.select(promotions.c.event)).all() == ["promotion", "refusal"]


def test_the_champion_of_a_moment_is_read_from_the_ledger(engine: sa.Engine) -> None:
    first, second = _version(engine, 1), _version(engine, 2)
    yes = Decision(True, ("ok",))
    ledger.record_decision(engine, first, None, yes, Stamp("me", datetime(2026, 2, 1, tzinfo=UTC)))
    ledger.record_decision(engine, second, first, yes, Stamp("me", datetime(2026, 3, 1, tzinfo=UTC)))
    assert ledger.champion_of(engine, "cells", as_of=datetime(2026, 2, 15, tzinfo=UTC)).model_version == "cae-cells/1"
    assert ledger.champion_of(engine, "cells", as_of=datetime(2026, 3, 2, tzinfo=UTC)).model_version == "cae-cells/2"
    with pytest.raises(NoChampionError):
        ledger.champion_of(engine, "cells", as_of=datetime(2025, 12, 31, tzinfo=UTC))


def test_a_time_without_a_zone_is_refused(engine: sa.Engine) -> None:
    _record(engine, _batch())
    version = _version(engine, 1)
    with pytest.raises(sa.exc.StatementError, match="aware time"):
        scored.record_scores(engine, [_score(version, scored_at=datetime(2026, 1, 1))])  # noqa: DTZ001
