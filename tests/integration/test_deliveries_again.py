"""Batches that come again, in part, corrected or late, and those that are judged by the limits of today."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from cae_pipeline.adapters.results import schema
from cae_pipeline.adapters.storage import LandingZone
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.errors import BatchRejectedError
from cae_pipeline.steps.life.snapshot import take_snapshot
from cae_pipeline.steps.night import publish
from cae_pipeline.steps.night.alert import raise_alerts
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.publish import publish_night
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.night.watch import watch_drift
from tests import asking
from tests.conftest import Plant, deliver, png, washer, washers

NIGHT = date(2026, 1, 31)
BATCH = str(NIGHT)


def _score(plant: Plant) -> int:
    version, chunks = plan_line(plant.line, chunk_size=16, services=plant.services)
    return sum(score_slices(chunk, version, plant.services).num_scored for chunk in chunks)


def _folder(plant: Plant, batch_id: str = BATCH) -> Path:
    return plant.landing / "washers" / batch_id


def _counts(plant: Plant) -> tuple[int, int, int]:
    [rates] = [row for row in asking.rates(plant.services) if row.night == NIGHT]
    return rates.num_images, rates.num_scored, rates.num_waiting


def _num_deliveries(plant: Plant) -> int:
    with plant.services.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(schema.deliveries)) or 0


def _mark_done(plant: Plant, batch_id: str = BATCH) -> None:
    (_folder(plant, batch_id) / "_SUCCESS").touch()


def test_images_deleted_after_they_were_scored_change_nothing(plant: Plant) -> None:
    deliver(plant.landing, "washers", BATCH, washers(range(300, 306)), manifest=False)
    _mark_done(plant)
    validate_batch(plant.line, BATCH, plant.services)
    _score(plant)
    before = _num_deliveries(plant)
    for name in ("ok00300.png", "ok00301.png"):
        (_folder(plant) / name).unlink()
    assert validate_batch(plant.line, BATCH, plant.services).already_there
    assert (_num_deliveries(plant), _counts(plant)) == (before, (6, 6, 0))


def test_a_correction_of_one_image_counts_the_others_once_and_scores_it_alone(plant: Plant) -> None:
    files = washers(range(300, 306)) | washers([400], defect=True)
    deliver(plant.landing, "washers", BATCH, files, manifest=False)
    _mark_done(plant)
    validate_batch(plant.line, BATCH, plant.services)
    assert _score(plant) == 7
    # the folder has been emptied, and one image comes anew
    for path in _folder(plant).glob("*.png"):
        path.unlink()
    (_folder(plant) / "ok00302.png").write_bytes(png(washer(350)))
    corrected = validate_batch(plant.line, BATCH, plant.services)
    assert (corrected.num_images, corrected.num_quarantined) == (7, 0)
    assert _score(plant) == 1
    assert _counts(plant) == (7, 7, 0)
    assert [row.name for row in asking.anomalies(plant.services)].count("bad00400.png") == 1


def test_a_file_that_was_missing_and_comes_later_is_scored(plant: Plant) -> None:
    deliver(plant.landing, "washers", BATCH, washers(range(300, 306)))
    late = (_folder(plant) / "ok00303.png").read_bytes()
    (_folder(plant) / "ok00303.png").unlink()
    plant = replace(plant, services=replace(plant.services, landing=LandingZone(plant.landing, settling_seconds=0)))
    assert validate_batch(plant.line, BATCH, plant.services).num_quarantined == 1
    assert _score(plant) == 5
    (_folder(plant) / "ok00303.png").write_bytes(late)
    assert validate_batch(plant.line, BATCH, plant.services).num_quarantined == 0
    assert _score(plant) == 1
    assert _counts(plant) == (6, 6, 0)


def test_a_rejected_batch_is_judged_by_the_limits_of_today_and_its_first_outcome_stays_on_record(plant: Plant) -> None:
    deliver(plant.landing, "washers", BATCH, washers(range(300, 304)))
    strict = replace(plant.line, validation=ValidationSettings(min_images=9))
    with pytest.raises(BatchRejectedError, match=r"seen 4, wanted at least 9"):
        validate_batch(strict, BATCH, plant.services)
    # without being asked it stays as it was, whatever the limits
    with pytest.raises(BatchRejectedError):
        validate_batch(plant.line, BATCH, plant.services)
    again = validate_batch(plant.line, BATCH, plant.services, again=True)
    assert (again.num_quarantined, again.already_there) == (0, False)
    assert _score(plant) == 4
    with plant.services.read() as connection:
        columns = (schema.deliveries.c.number, schema.deliveries.c.status, schema.deliveries.c.is_in_force)
        of_batch = schema.deliveries.c.rejected_for != "", schema.deliveries.c.number == 1
        rows = connection.execute(sa.select(*columns).where(sa.or_(*of_batch)).order_by(columns[0])).all()
    assert [tuple(row) for row in rows] == [(0, "rejected", False), (1, "scored", True)]


def test_a_task_that_is_tried_again_judges_again_once(plant: Plant) -> None:
    deliver(plant.landing, "washers", BATCH, washers(range(300, 304)))
    services = replace(plant.services, dag_run_id="manual__1")
    first = validate_batch(plant.line, BATCH, services)
    keys = [validate_batch(plant.line, BATCH, services, again=True).delivery_key for _ in range(2)]
    assert keys[0] == keys[1] != first.delivery_key


def test_what_came_late_is_told_of_by_the_run_that_did_it_and_by_no_other(plant: Plant) -> None:
    lines, tomorrow = [plant.line], NIGHT + timedelta(days=1)
    assert publish_night(NIGHT, lines, plant.services).num_images == 0
    deliver(plant.landing, "washers", BATCH, washers(range(300, 340)) | washers([400], defect=True))
    dark = {f"d{i:02}.png": png((washer(i) * 0.02).astype(np.uint8)) for i in range(20)}
    deliver(plant.landing, "washers", f"{BATCH}-b", dark)
    validate_batch(plant.line, BATCH, plant.services)
    with pytest.raises(BatchRejectedError):
        validate_batch(plant.line, f"{BATCH}-b", plant.services)
    _score(plant)
    assert watch_drift(plant.line, tomorrow, plant.services).num_images == 41
    told = publish_night(tomorrow, lines, plant.services)
    assert (told.num_images, told.num_quarantined) == (61, 20)
    page = told.path.read_text()
    assert "bad00400.png" in page
    assert f"{BATCH}-b (rejected) (late, of {BATCH})" in page
    own = publish_night(NIGHT, lines, plant.services)
    assert own.num_images == 0
    assert f'came late: the report of <a href="{tomorrow}.html">' in own.path.read_text()
    # the figures of a night stay those of its batches
    assert _counts(plant) == (61, 41, 0)
    new = [raise_alerts(night, lines, plant.services).new for night in (tomorrow, tomorrow, NIGHT)]
    assert [[alert["kind"] for alert in one] for one in new] == [["batch_rejected"], [], []]
    assert "cae validate washers 2026-01-31-b --again" in new[0][0]["message"]


def test_of_the_reports_that_are_out_of_date_a_run_makes_the_newest_again_and_the_next_run_the_others(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = [NIGHT + timedelta(days=number) for number in range(3)]
    for number, night in enumerate(nights):
        deliver(plant.landing, "washers", str(night), washers(range(300 + 3 * number, 303 + 3 * number)))
        validate_batch(plant.line, str(night), plant.services)
        _score(plant)
        publish_night(night, [plant.line], plant.services)
    with plant.services.write() as work:
        later = plant.services.clock() + timedelta(hours=1)
        work.connection.execute(sa.update(schema.deliveries).values(finished_at=later))
        work.commit()
    monkeypatch.setattr(publish, "MAX_MADE_AGAIN", 1)
    later_on = replace(plant.services, clock=lambda: later + timedelta(hours=1))
    again = [publish_night(nights[-1], [plant.line], later_on).made_again for _ in range(3)]
    assert again == [(str(nights[1]),), (str(nights[0]),), ()]


def test_in_a_rejected_batch_a_picture_that_came_twice_is_blamed_on_the_batch(plant: Plant) -> None:
    almost = np.clip(washer(300).astype(int) + 1, 0, 255).astype(np.uint8)
    deliver(plant.landing, "washers", BATCH, washers([300]) | {"z.png": png(almost)})
    strict = replace(plant.line, validation=ValidationSettings(min_images=9))
    with pytest.raises(BatchRejectedError):
        validate_batch(strict, BATCH, plant.services)
    assert {row.reason for row in asking.odd_images(plant.services)} == {"batch_rejected"}


def test_an_image_that_is_the_only_copy_of_one_that_trains_is_scored(plant: Plant) -> None:
    trained = next((plant.landing / "washers" / "normal-1").glob("*.png"))
    deliver(plant.landing, "washers", BATCH, {"same.png": trained.read_bytes()} | washers([300, 301, 302]))
    assert validate_batch(plant.line, BATCH, plant.services).num_quarantined == 0
    assert _score(plant) == 4


def test_a_line_may_learn_from_the_images_of_a_new_camera_alone(plant: Plant) -> None:
    larger = {f"n{i:03}.png": png(np.kron(washer(i), np.ones((2, 2), np.uint8))) for i in range(30)}
    deliver(plant.landing, "washers", "normal-2", larger)
    both = take_snapshot(plant.line, plant.services)
    assert {image.batch_id for image in both.images} == {"normal-1"}
    new = replace(plant.line, training=replace(plant.line.training, normal_batches=("normal-2",)))
    alone = take_snapshot(new, plant.services)
    assert {image.batch_id for image in alone.images} == {"normal-2"}
    assert len(alone.images) == 30
