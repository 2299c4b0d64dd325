from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cae_pipeline.adapters.results import (
    batches,
    database,
    deliveries,
    images,
    judgements,
    ledger,
    model_versions,
    reports,
    verdicts,
)
from cae_pipeline.adapters.results.deliveries import Validation
from cae_pipeline.adapters.results.ledger import Change
from cae_pipeline.adapters.results.model_versions import ModelVersion, Registration
from cae_pipeline.adapters.results.queries import nights
from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter, list_anomalies
from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.adapters.results.schema import UtcDateTime, metadata
from cae_pipeline.adapters.results.schema import deliveries as deliveries_table
from cae_pipeline.adapters.results.schema import judgements as judgements_table
from cae_pipeline.adapters.results.schema import ledger as ledger_table
from cae_pipeline.adapters.results.unit_of_work import reading, unit_of_work
from cae_pipeline.adapters.results.views import VIEWS
from cae_pipeline.domain.batch import Delivery, Member
from cae_pipeline.domain.facts import ImageFacts, measure
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import (
    Failed,
    FailureReason,
    ImageStatus,
    Judgement,
    Outcome,
    Reason,
    Scored,
    ValidatedImage,
)
from cae_pipeline.domain.promotion import Decision, Event, ModelState
from cae_pipeline.domain.stamp import Stamp
from cae_pipeline.domain.verdict import Verdict
from cae_pipeline.errors import CaeError, ConcurrentChangeError, ConfigurationError, NoChampionError, NotFoundError
from cae_pipeline.statistics.conformal import Threshold
from cae_pipeline.steps.life import normal

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
NIGHT = date(2026, 1, 31)
ME = Stamp("me", NOW)
YES = Decision(True, ("ok",))


@pytest.fixture
def engine(results_url: str) -> sa.Engine:
    return database.open_database(results_url)


def _delivery(batch_id: str = "2026-01-31", *, manifest: str = "f", night: date = NIGHT) -> Delivery:
    members = (Member("a.png", 3, "a" * 64), Member("b.png", 4, "b" * 64))
    return Delivery("cells", batch_id, night, members, manifest * 64, listed_at=NOW)


_ACCEPTED = ValidatedImage("a.png", "a" * 64, 3, ImageStatus.ACCEPTED)
_BROKEN = ValidatedImage("b.png", "b" * 64, 4, ImageStatus.QUARANTINED, Reason.TRUNCATED, "half of it")


def _validation(*members: ValidatedImage) -> Validation:
    return Validation(members or (_ACCEPTED, _BROKEN), {}, (), "x.html", "", NOW)


def _record(engine: sa.Engine, delivery: Delivery, validation: Validation | None = None) -> None:
    with unit_of_work(engine) as work:
        deliveries.record_delivery(work.connection, delivery, validation or _validation())
        work.commit()


def _version(engine: sa.Engine, number: int, *, members: list[tuple[str, str, str]] | None = None) -> ModelVersion:
    made = Registration(
        model_version=f"cae-cells/{number}",
        line="cells",
        version=number,
        run_id="r",
        artefact_uri="runs:/r/scorer",
        artefact_sha256="c" * 64,
        snapshot_sha256="d" * 64,
        figures={"synthetic_auroc": 0.9},
        registered_at=NOW,
    )
    with unit_of_work(engine) as work:
        version = model_versions.register(work.connection, made, Threshold(2.0, 0.05, 19, 19), members=members or [])
        work.commit()
    return version


def _scored(score: float = 3.0, p_value: float = 0.05) -> Scored:
    return Scored(score, p_value, (), "maps/a.png", 2.0)


FAILED = Failed(FailureReason.NOT_FINITE, "NaN")


def _judge(
    engine: sa.Engine, version: ModelVersion, outcome: Outcome, *, delivery: Delivery | None = None, name: str = "a.png"
) -> None:
    key = (delivery or _delivery()).delivery_key
    made = Judgement(key, name, name[0] * 64, version.model_version, outcome, NOW + timedelta(hours=version.version))
    with unit_of_work(engine) as work:
        judgements.record_judgements(work.connection, [made])
        work.commit()


def _decide(engine: sa.Engine, before: ModelVersion | None, after: ModelVersion, decision: Decision = YES) -> None:
    with unit_of_work(engine) as work:
        ledger.record_decision(work.connection, Change(before, after), decision, ME)
        work.commit()


def _finish(engine: sa.Engine, version: ModelVersion) -> bool:
    with unit_of_work(engine) as work:
        key, name = _delivery().delivery_key, version.model_version
        done = batches.finish_if_complete(work.connection, key, judged_by=name, finished_at=NOW)
        work.commit()
    return done


def _current(engine: sa.Engine) -> list[tuple[str, str, str]]:
    """`(name, model_version, outcome)` of the judgements that count."""
    columns = judgements_table.c
    query = sa.select(columns.name, columns.model_version, columns.outcome).where(columns.is_current)
    with reading(engine) as connection:
        return [tuple(row) for row in connection.execute(query.order_by(columns.name))]


def _rates(engine: sa.Engine) -> nights.RateRow:
    with reading(engine) as connection:
        return nights.rates_of_night(connection, "cells", NIGHT)


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
        database.open_database(engine.url.render_as_string(hide_password=False))


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


def test_what_is_not_committed_is_not_kept(engine: sa.Engine) -> None:
    with unit_of_work(engine) as work:
        deliveries.record_delivery(work.connection, _delivery(), _validation())
    with pytest.raises(NotFoundError), reading(engine) as connection:
        batches.delivery_in_force(connection, "cells", "2026-01-31")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_never_reach_a_json_column(engine: sa.Engine, value: float) -> None:
    first = _version(engine, 1)
    with pytest.raises((sa.exc.StatementError, ValueError), match="not JSON compliant"):
        _decide(engine, None, first, Decision(True, ("ok",), {"figure": value}))
    with pytest.raises(NoChampionError), reading(engine) as connection:
        ledger.champion_of(connection, "cells")


def test_recording_a_delivery_twice_changes_nothing(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    _record(engine, _delivery(), replace(_validation(), data_docs_uri="other.html"))
    with reading(engine) as connection:
        row = batches.delivery_in_force(connection, "cells", "2026-01-31")
    assert (row.num_images, row.num_quarantined, row.validated_at, row.data_docs_uri) == (2, 1, NOW, "x.html")


def test_the_newest_delivery_of_a_batch_is_in_force_and_lists_count_each_image_once(engine: sa.Engine) -> None:
    version = _version(engine, 1)
    first, second = _delivery(), _delivery(manifest="e")
    _record(engine, first)
    _judge(engine, version, _scored())
    _record(engine, second, _validation(replace(_ACCEPTED, image_id="e" * 64), _BROKEN))
    with reading(engine) as connection:
        assert batches.delivery_in_force(connection, "cells", "2026-01-31").delivery_key == second.delivery_key
        assert list_anomalies(connection, AnomalyFilter(), Page("-score")) == []
    assert (_rates(engine).num_images, _rates(engine).num_scored, _rates(engine).num_waiting) == (2, 0, 1)
    # the first content comes back, and with it what was said of it
    with unit_of_work(engine) as work:
        deliveries.put_in_force(work.connection, first)
        work.commit()
    assert (_rates(engine).num_images, _rates(engine).num_scored, _rates(engine).num_waiting) == (2, 1, 0)
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).where(deliveries_table.c.is_in_force)) == 1


def test_what_was_said_of_an_image_that_comes_again_unchanged_is_said_in_its_new_delivery(engine: sa.Engine) -> None:
    version = _version(engine, 1)
    _record(engine, _delivery())
    _judge(engine, version, _scored())
    corrected = _delivery(manifest="e")
    _record(engine, corrected, _validation(_ACCEPTED, replace(_ACCEPTED, name="b.png", image_id="b" * 64)))
    rates = _rates(engine)
    assert (rates.num_images, rates.num_scored, rates.num_flagged, rates.num_waiting) == (2, 1, 1, 1)
    assert _current(engine) == [("a.png", "cae-cells/1", "scored")]


def test_a_release_holds_for_the_same_image_in_a_later_delivery(engine: sa.Engine) -> None:
    version = _version(engine, 1)
    facts = measure(np.zeros((4, 4), np.uint8), mode="L")
    odd = replace(_BROKEN, reason=Reason.WRONG_SIZE, facts=facts)
    _record(engine, _delivery(), _validation(_ACCEPTED, odd))
    with unit_of_work(engine) as work:
        images.release(work.connection, _delivery().delivery_key, ["b.png"], ME)
        work.commit()
    _judge(engine, version, _scored(), name="b.png")
    _record(engine, _delivery(manifest="e"), _validation(_ACCEPTED, odd))
    assert _current(engine) == [("b.png", "cae-cells/1", "scored")]
    assert (_rates(engine).num_quarantined, _rates(engine).num_waiting) == (0, 1)


def test_a_duplicate_takes_the_place_of_the_image_it_pointed_at_when_that_is_gone(engine: sa.Engine) -> None:
    later = [_delivery(f"2026-01-31_{letter}") for letter in "bc"]
    same = replace(_ACCEPTED, status=ImageStatus.QUARANTINED, reason=Reason.DUPLICATE, duplicate_of="a" * 64)
    _record(engine, _delivery())
    for delivery in later:
        _record(engine, delivery, _validation(same, _BROKEN))
    assert (_rates(engine).num_quarantined, _rates(engine).num_waiting) == (5, 1)
    _record(engine, _delivery(manifest="e"), _validation(replace(_ACCEPTED, image_id="e" * 64), _BROKEN))
    # the corrected image waits, and one of the two duplicates: the other one points at it
    assert (_rates(engine).num_quarantined, _rates(engine).num_waiting) == (4, 2)
    with reading(engine) as connection:
        states = [images.members_of(connection, delivery.delivery_key)[0].status for delivery in later]
    assert states == ["accepted", "quarantined"]


def test_an_image_out_of_its_limits_is_scored_and_counts_apart(engine: sa.Engine) -> None:
    version = _version(engine, 1)
    members = [_ACCEPTED, replace(_ACCEPTED, name="b.png", image_id="b" * 64, reason=Reason.TOO_DARK),
               replace(_ACCEPTED, name="c.png", image_id="c" * 64, reason=Reason.NEAR_DUPLICATE),
               replace(_ACCEPTED, name="d.png", image_id="d" * 64, reason=Reason.UNLIKE_LINE)]  # fmt: skip
    _record(engine, _delivery(), _validation(*members))
    for name in ("a.png", "b.png", "c.png", "d.png"):
        _judge(engine, version, _scored(), name=name)
    rates = _rates(engine)
    assert (rates.num_images, rates.num_out_of_limits, rates.num_scored, rates.num_flagged) == (4, 1, 3, 3)
    assert rates.num_waiting == 0
    with reading(engine) as connection:
        listed = nights.list_odd_images(connection, "cells", Page("name"))
        flagged = list_anomalies(connection, AnomalyFilter(), Page("name"))
        usual = images.usual_images(connection, [_delivery().delivery_key])
    assert [(row.name, row.status, row.reason, row.score) for row in listed] == [
        ("b.png", "accepted", "too_dark", 3.0),
        ("d.png", "accepted", "unlike_line", 3.0),
    ]
    assert [row.reason for row in flagged] == ["", "too_dark", "near_duplicate", "unlike_line"]
    assert [image.name for image in usual] == ["a.png", "c.png"]


def test_each_delivery_is_told_of_by_one_report(engine: sa.Engine) -> None:
    version = _version(engine, 1)
    own, late = _delivery(), _delivery("2026-01-30", night=NIGHT - timedelta(days=1))
    for delivery in (own, late):
        _record(engine, delivery)

    def told_by(night: date) -> list[str]:
        with unit_of_work(engine) as work:
            rows = reports.deliveries_told_by(work.connection, "cells", night)
            reports.mark_told(work.connection, [row.delivery_key for row in rows], night, at=NOW + timedelta(days=9))
            work.commit()
        return [row.batch_id for row in rows]

    # what waits for a model is in no report but that of its own night
    assert told_by(NIGHT) == ["2026-01-31"]
    for delivery in (own, late):
        _judge(engine, version, _scored(), delivery=delivery)
        with unit_of_work(engine) as work:
            name = version.model_version
            batches.finish_if_complete(work.connection, delivery.delivery_key, judged_by=name, finished_at=NOW)
            work.commit()
    assert told_by(NIGHT) == ["2026-01-30", "2026-01-31"]
    assert told_by(NIGHT) == ["2026-01-30", "2026-01-31"]
    assert told_by(NIGHT + timedelta(days=1)) == []
    assert told_by(NIGHT - timedelta(days=1)) == []
    with reading(engine) as connection:
        later = reports.told_later(connection, "cells", NIGHT - timedelta(days=1))
        assert [row.batch_id for row in later] == ["2026-01-30"]
        assert reports.stale_nights(connection) == []


def test_the_report_of_a_delivery_that_is_finished_anew_is_made_again(engine: sa.Engine) -> None:
    version = _version(engine, 1)
    _record(engine, _delivery())
    _judge(engine, version, _scored())
    _finish(engine, version)
    with unit_of_work(engine) as work:
        reports.mark_told(work.connection, [_delivery().delivery_key], NIGHT, at=NOW - timedelta(hours=1))
        work.commit()
    with reading(engine) as connection:
        assert reports.stale_nights(connection) == [NIGHT]


def test_a_score_for_a_delivery_that_is_history_by_now_does_not_count(engine: sa.Engine) -> None:
    version = _version(engine, 1)
    _record(engine, _delivery())
    _record(engine, _delivery(manifest="e"))
    _judge(engine, version, _scored())
    assert _current(engine) == []


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -1.0, None])
def test_the_database_itself_refuses_a_score_that_is_no_score(engine: sa.Engine, score: Any) -> None:
    _record(engine, _delivery())
    version = _version(engine, 1)
    with pytest.raises(sa.exc.IntegrityError):
        _judge(engine, version, _scored(score))
    assert _current(engine) == []


@pytest.mark.parametrize("p_value", [0.0, 1.5, None])
def test_the_database_itself_refuses_a_p_value_out_of_range(engine: sa.Engine, p_value: Any) -> None:
    _record(engine, _delivery())
    version = _version(engine, 1)
    with pytest.raises(sa.exc.IntegrityError):
        _judge(engine, version, _scored(p_value=p_value))


def test_a_score_written_twice_is_one_row_and_the_first_stays(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    version = _version(engine, 1)
    _judge(engine, version, _scored(3.0))
    _judge(engine, version, _scored(9.0))
    _judge(engine, version, FAILED)
    with engine.connect() as connection:
        assert connection.execute(sa.select(judgements_table.c.score)).scalars().all() == [3.0]


def test_a_failure_gives_way_to_a_score(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    version = _version(engine, 1)
    _judge(engine, version, FAILED)
    assert _current(engine) == [("a.png", "cae-cells/1", "failed")]
    _judge(engine, version, _scored())
    assert _current(engine) == [("a.png", "cae-cells/1", "scored")]


def test_an_outcome_belongs_to_an_image_and_a_model_version(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    first, second = _version(engine, 1), _version(engine, 2)
    _judge(engine, first, _scored())
    # a later model that fails hides nothing that an earlier one has seen
    _judge(engine, second, FAILED)
    assert _current(engine) == [("a.png", "cae-cells/1", "scored")]
    _judge(engine, second, _scored(5.0))
    assert _current(engine) == [("a.png", "cae-cells/2", "scored")]
    assert (_rates(engine).num_scored, _rates(engine).num_failed) == (1, 0)


def test_of_two_failures_the_newest_counts(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    for number in (1, 2):
        _judge(engine, _version(engine, number), FAILED)
    assert _current(engine) == [("a.png", "cae-cells/2", "failed")]
    assert (_rates(engine).num_scored, _rates(engine).num_failed, _rates(engine).num_waiting) == (0, 1, 0)


def test_a_delivery_is_finished_only_when_no_accepted_image_waits(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    version = _version(engine, 1)
    assert not _finish(engine, version)
    _judge(engine, version, _scored())
    assert _finish(engine, version)
    assert not _finish(engine, version)


def test_an_image_that_one_model_failed_on_waits_for_the_next_champion(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    first, second = _version(engine, 1), _version(engine, 2)
    _decide(engine, None, first)
    _judge(engine, first, FAILED)
    assert _finish(engine, first)
    with reading(engine) as connection:
        champion = ledger.champion_of(connection, "cells")
    _decide(engine, champion, second)
    with reading(engine) as connection:
        [waiting] = batches.unfinished_deliveries(connection, "cells")
    assert waiting.delivery_key == _delivery().delivery_key
    assert not _finish(engine, second)
    _judge(engine, second, _scored())
    assert _finish(engine, second)


def test_a_released_duplicate_counts_as_a_member_of_its_own(engine: sa.Engine) -> None:
    first = ValidatedImage("a.png", "a" * 64, 3, ImageStatus.ACCEPTED)
    again = ValidatedImage("again.png", "a" * 64, 3, ImageStatus.QUARANTINED, Reason.DUPLICATE, "same as")
    _record(engine, _delivery(), _validation(first, again))
    version = _version(engine, 1)
    with unit_of_work(engine) as work:
        # only what could be decoded can be released
        work.connection.execute(sa.text("UPDATE images SET width_px = 8, height_px = 8"))
        assert images.release(work.connection, _delivery().delivery_key, ["again.png"], ME) == 1
        work.commit()
    for name in ("a.png", "again.png"):
        _judge(engine, version, _scored(), name=name)
    found = _rates(engine)
    assert (found.num_images, found.num_quarantined, found.num_scored, found.num_waiting) == (2, 0, 2, 0)


def _nights_before(engine: sa.Engine, *days: int, score: float = 1.0) -> list[str]:
    """One scored image, unflagged if not told otherwise, in each of some earlier nights; returns their digests."""
    version, made = _version(engine, 1), []
    for number, night in enumerate(NIGHT - timedelta(days=count) for count in days):
        image_id = f"{number:064x}"
        delivery = Delivery("cells", str(night), night, (Member("a.png", 3, image_id),), f"{number:064x}", NOW)
        facts = ImageFacts(8, 8, "L", 0.5, 0.1, 1.0, 5.0, image_id, 0.33, 0.33)
        _record(engine, delivery, _validation(ValidatedImage("a.png", image_id, 3, ImageStatus.ACCEPTED, facts=facts)))
        outcome = Scored(score, 0.5, (), "maps/a.png", 2.0)
        judgement = Judgement(delivery.delivery_key, "a.png", image_id, version.model_version, outcome, NOW)
        with unit_of_work(engine) as work:
            judgements.record_judgements(work.connection, [judgement])
            work.commit()
        made.append(image_id)
    return made


def test_old_images_are_taken_for_normal_only_if_a_person_said_so(engine: sa.Engine) -> None:
    tonight, recent, old, old_but_judged = _nights_before(engine, 0, 59, 60, 300)
    with unit_of_work(engine) as work:
        verdicts.append(work.connection, [Verdict(old_but_judged, "normal", "me", NOW, "")])
        work.commit()

    def found(line: str, newest_nights: int) -> set[str]:
        policy = replace(Line(line).retraining, newest_nights=newest_nights, review_share=0.0)
        with reading(engine) as connection:
            rows = normal.newly_accepted(connection, replace(Line(line), retraining=policy))
        return {image.image_id for image in rows}

    assert found("cells", 60) == {tonight, recent, old_but_judged}
    assert found("cells", 61) == {tonight, recent, old, old_but_judged}
    assert found("bottles", 60) == set()


def test_rates_are_worked_out_from_a_night_on(engine: sa.Engine) -> None:
    _nights_before(engine, 0, 1, 5)
    with reading(engine) as connection:
        rates = nights.list_daily_rates(connection, "cells", Page("night"), since=date(2026, 1, 30))
    assert [row.night for row in rates] == [date(2026, 1, 30), NIGHT]


@pytest.mark.parametrize("sort", ["night", "-night"])
@pytest.mark.parametrize("page_size", [1, 2, 50])
def test_pages_of_anomalies_by_night_hold_each_once_in_order(engine: sa.Engine, sort: str, page_size: int) -> None:
    _nights_before(engine, 3, 0, 40, 7, 1, score=3.0)
    newest_first = [NIGHT - timedelta(days=days) for days in (0, 1, 3, 7, 40)]
    expected = newest_first if sort == "-night" else newest_first[::-1]
    with reading(engine) as connection:
        pages = [
            list_anomalies(connection, AnomalyFilter(line="cells"), Page(sort, number, page_size))
            for number in range(1, 7)
        ]
        recent = list_anomalies(connection, AnomalyFilter(since=NIGHT - timedelta(days=3)), Page(sort, 1, page_size))
    assert [row.night for page in pages for row in page] == expected
    assert [row.night for row in recent] == [one for one in expected if one >= NIGHT - timedelta(days=3)][:page_size]


def test_a_new_image_is_held_against_the_newest_earlier_ones(engine: sa.Engine) -> None:
    tonight, yesterday, week_ago, older = _nights_before(engine, 0, 1, 7, 8)

    def compared(delivery: Delivery, limit: int = 10) -> list[str]:
        with reading(engine) as connection:
            since = delivery.night - timedelta(days=7)
            return [one.image_id for one in images.recent_images(connection, delivery, since=since, limit=limit)]

    assert compared(_delivery("new")) == [tonight, yesterday, week_ago]
    assert compared(_delivery("new"), limit=2) == [tonight, yesterday]
    # neither its own batch nor what came after it
    assert compared(_delivery(str(NIGHT))) == [yesterday, week_ago]
    assert compared(_delivery("new", night=NIGHT - timedelta(days=1))) == [yesterday, week_ago, older]
    assert compared(replace(_delivery("new"), line="bottles")) == []


def test_the_same_bytes_are_known_from_other_batches_of_the_line_however_old(engine: sa.Engine) -> None:
    tonight, old = _nights_before(engine, 0, 300)

    def known(delivery: Delivery) -> set[str]:
        members = tuple(
            Member(f"{number}.png", 3, image_id) for number, image_id in enumerate((tonight, old, "c" * 64))
        )
        with reading(engine) as connection:
            new = replace(delivery, members=members)
            return images.known_images(connection, new, is_normal=lambda batch_id: False)

    assert known(_delivery("new")) == {tonight, old}
    assert known(_delivery(str(NIGHT))) == {old}
    assert known(_delivery("new", night=NIGHT - timedelta(days=1))) == {old}
    assert known(replace(_delivery("new"), line="bottles")) == set()


def test_what_cannot_be_decoded_cannot_be_released(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    key = _delivery().delivery_key
    for name, error, message in (
        ("b.png", CaeError, "Have it delivered again"),
        ("a.png", NotFoundError, r"Known: b.png"),
    ):
        with pytest.raises(error, match=message), unit_of_work(engine) as work:
            images.release(work.connection, key, [name], ME)


def test_a_line_without_a_champion_is_a_clear_state(engine: sa.Engine) -> None:
    with pytest.raises(NoChampionError, match="images wait"), reading(engine) as connection:
        ledger.champion_of(connection, "cells")


def test_only_one_of_two_promotions_from_the_same_champion_succeeds(engine: sa.Engine) -> None:
    first, second, third = (_version(engine, number) for number in (1, 2, 3))
    _decide(engine, None, first)
    with reading(engine) as connection:
        champion = ledger.champion_of(connection, "cells")
    _decide(engine, champion, second)
    for before in (champion, None):
        with pytest.raises(ConcurrentChangeError, match="somebody promoted in between") as caught:
            _decide(engine, before, third)
        assert caught.value.retryable
    with engine.connect() as connection:
        assert ledger.champion_of(connection, "cells").model_version == "cae-cells/2"
        states = [row.state for row in model_versions.versions_of(connection, "cells")]
        assert states == [ModelState.SUPERSEDED, ModelState.PROMOTED, ModelState.CANDIDATE]
        assert connection.scalar(sa.select(sa.func.count()).select_from(ledger_table)) == 2


def test_the_database_itself_refuses_a_second_champion(engine: sa.Engine) -> None:
    for number in (1, 2):
        _version(engine, number)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.text("UPDATE model_versions SET state = 'promoted'"))


def test_what_a_model_was_trained_on_is_kept_with_the_part_each_image_played(engine: sa.Engine) -> None:
    _record(engine, _delivery())
    key = _delivery().delivery_key
    _version(engine, 1, members=[(key, "a.png", "train"), (key, "b.png", "calibration")])
    # the same images in other parts belong to another version
    _version(engine, 2, members=[(key, "a.png", "calibration"), (key, "b.png", "train")])
    with reading(engine) as connection:
        for number, parts in ((1, ["train", "calibration"]), (2, ["calibration", "train"])):
            rows = model_versions.snapshot_images(connection, f"cae-cells/{number}")
            assert [(row.image.key, row.part) for row in rows] == [
                ((key, "a.png"), parts[0]),
                ((key, "b.png"), parts[1]),
            ]


def test_a_refusal_is_in_the_ledger_and_changes_nobody(engine: sa.Engine) -> None:
    first, second = _version(engine, 1), _version(engine, 2)
    _decide(engine, None, first)
    with reading(engine) as connection:
        champion = ledger.champion_of(connection, "cells")
    _decide(engine, champion, second, Decision(False, ("REFUSED: worse",)))
    with engine.connect() as connection:
        assert ledger.champion_of(connection, "cells").model_version == "cae-cells/1"
        assert connection.scalars(sa.select(ledger_table.c.event)).all() == [Event.PROMOTION, Event.REFUSAL]
        assert model_versions.find_version(connection, "cae-cells/2").state is ModelState.REFUSED


def test_the_champion_of_a_moment_is_read_from_the_ledger(engine: sa.Engine) -> None:
    first, second = _version(engine, 1), _version(engine, 2)
    with unit_of_work(engine) as work:
        stamps = [Stamp("me", datetime(2026, month, 1, tzinfo=UTC)) for month in (2, 3)]
        ledger.record_decision(work.connection, Change(None, first), YES, stamps[0])
        champion = ledger.champion_of(work.connection, "cells")
        ledger.record_decision(work.connection, Change(champion, second), YES, stamps[1])
        work.commit()
    with reading(engine) as connection:
        for moment, name in (((2026, 2, 15), "cae-cells/1"), ((2026, 3, 2), "cae-cells/2")):
            then = datetime(*moment, tzinfo=UTC)
            assert ledger.champion_of(connection, "cells", as_of=then).model_version == name
        with pytest.raises(NoChampionError):
            ledger.champion_of(connection, "cells", as_of=datetime(2025, 12, 31, tzinfo=UTC))


def test_a_time_without_a_zone_is_refused(engine: sa.Engine) -> None:
    naive = replace(_delivery(), listed_at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(sa.exc.StatementError, match="aware time"):
        _record(engine, naive)
