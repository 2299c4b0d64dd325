"""Alerts against a real HTTP server, and trainings that nights and verdicts ask for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest

from cae_pipeline.adapters import webhook
from cae_pipeline.adapters.results import drift_reports, ledger
from cae_pipeline.adapters.results.ledger import Change
from cae_pipeline.domain.promotion import Decision
from cae_pipeline.errors import BatchRejectedError
from cae_pipeline.orchestration.tasks import tell
from cae_pipeline.statistics.drift import DriftReport
from cae_pipeline.steps.life.review import say_verdict
from cae_pipeline.steps.night.alert import raise_alerts
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.night.watch import ask_for_retraining, watch_drift
from cae_pipeline.steps.services import Services
from tests import asking
from tests.conftest import Plant, deliver, png, washer, washers
from tests.receiver import Receiver, listening

NIGHT = date(2026, 1, 31)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(webhook, "PATIENCE_SECONDS", 0)
    with listening() as server:
        yield server


def _at(services: Services, moment: datetime, **changes: Any) -> Services:
    return replace(services, clock=lambda: moment, **changes)


def _score(plant: Plant, batch_id: str, members: dict[str, bytes]) -> None:
    deliver(plant.landing, "washers", batch_id, members)
    validate_batch(plant.line, batch_id, plant.services)
    version, chunks = plan_line(plant.line, chunk_size=512, services=plant.services)
    for chunk in chunks:
        score_slices(chunk, version, plant.services)


def test_a_rejected_batch_a_refusal_and_drift_are_told_once(plant: Plant, receiver: Receiver) -> None:
    dark = {f"d{i:02}.png": png((washer(i) * 0.02).astype(np.uint8)) for i in range(20)}
    deliver(plant.landing, "washers", "2026-01-31-late", dark)
    with pytest.raises(BatchRejectedError):
        validate_batch(plant.line, "2026-01-31-late", plant.services)
    brighter = {f"b{i}.png": png(np.clip(washer(i).astype(int) + 14, 0, 255).astype(np.uint8)) for i in range(700, 730)}
    _score(plant, "2026-01-31", brighter)
    watch_drift(plant.line, NIGHT, plant.services)
    version = asking.champion(plant.services)
    refused = Decision(False, ("ok: finite", "REFUSED: synthetic AUROC 0.4"))
    with plant.services.write() as work:
        ledger.record_decision(work.connection, Change(version, version), refused, plant.services.stamp())
        work.commit()
    services = replace(plant.services, webhook_url=receiver.url)
    assert raise_alerts(NIGHT, [plant.line], services).num_delivered == 3
    told = {alert["kind"]: alert for alert in receiver.received}
    assert set(told) == {"batch_rejected", "drift", "challenger_refused"}
    assert "wanted at most 0.7" in told["batch_rejected"]["message"]
    assert "brightness" in told["drift"]["message"]
    assert told["challenger_refused"]["message"].endswith("REFUSED: synthetic AUROC 0.4")
    assert told["drift"]["text"].startswith("cae-pipeline, line washers: drift: camera")
    assert raise_alerts(NIGHT, [plant.line], services).alerts == []
    assert len(receiver.received) == 3


def test_drift_that_goes_on_is_told_once_a_week(plant: Plant, receiver: Receiver) -> None:
    version = asking.champion(plant.services).model_version
    services = replace(plant.services, webhook_url=receiver.url)
    first = date(2026, 1, 1)
    diagnoses = [*["defects"] * 9, "none", "defects", "camera", "camera"]
    for night, diagnosis in enumerate(diagnoses):
        when = first + timedelta(days=night)
        with services.write() as work:
            drift_reports.record_drift(
                work.connection, "washers", when, version, _report(diagnosis), watched_at=services.clock()
            )
            work.commit()
        raise_alerts(first + timedelta(days=night), [plant.line], services)
    told = [(alert["night"], alert["message"].split(": ")[1]) for alert in receiver.received]
    # again after a week, after it was gone, and when it is something else
    nights = [("01", "defects"), ("08", "defects"), ("11", "defects"), ("12", "camera")]
    assert told == [(f"2026-01-{night}", diagnosis) for night, diagnosis in nights]


def test_a_jump_of_the_flag_rate_is_told(plant: Plant, receiver: Receiver) -> None:
    for day in range(1, 5):
        _score(plant, f"2026-01-0{day}", washers(range(day * 1000, day * 1000 + 30)))
    services = replace(plant.services, webhook_url=receiver.url)
    _score(plant, "2026-01-05", washers(range(5000, 5015)) | washers(range(6000, 6015), defect=True))
    for day in range(1, 6):
        raise_alerts(date(2026, 1, day), [plant.line], services)
    [told] = [alert for alert in receiver.received if alert["kind"] == "flag_rate_jump"]
    assert told["night"] == "2026-01-05"


def test_a_batch_that_has_not_arrived_by_its_hour_is_missed(plant: Plant, receiver: Receiver) -> None:
    line = replace(plant.line, expected_by=time(22))
    before, after = (datetime(2026, 1, 31, hour, 30, tzinfo=UTC) for hour in (21, 22))
    assert raise_alerts(NIGHT, [line], _at(plant.services, before, webhook_url=receiver.url)).alerts == []
    raise_alerts(NIGHT, [line], _at(plant.services, after, webhook_url=receiver.url))
    assert [alert["message"] for alert in receiver.received] == ["no batch of 2026-01-31 has arrived by 22:00 UTC"]
    # one whose files are still arriving is not missed
    deliver(plant.landing, "washers", "2026-02-01", washers([1]), manifest=False)
    next_day = _at(plant.services, after + timedelta(days=1), webhook_url=receiver.url)
    assert raise_alerts(NIGHT + timedelta(days=1), [line], next_day).alerts == []


def test_a_dead_receiver_fails_nothing_and_is_told_when_it_lives_again(plant: Plant, receiver: Receiver) -> None:
    line = replace(plant.line, expected_by=time(0))
    for url, status, new in (("http://127.0.0.1:9/hook", 200, 1), (receiver.url, 500, 0), ("ftp://nowhere", 200, 0)):
        receiver.statuses = [status]
        done = raise_alerts(NIGHT, [line], replace(plant.services, webhook_url=url))
        # Airflow's notifiers hear of it once, however often the webhook is tried
        assert (len(done.alerts), len(done.new), done.num_delivered) == (1, new, 0)
    receiver.statuses = [200]
    assert raise_alerts(NIGHT, [line], replace(plant.services, webhook_url=receiver.url)).num_delivered == 1
    assert len(receiver.received) == 1


def test_airflows_notifiers_are_handed_each_alert_and_a_broken_one_fails_nothing() -> None:
    NOTIFIED.clear()
    alarm = {
        "new": [{"kind": "drift", "line": "washers", "text": "the camera moved"}],
        "notifiers": [
            {"notifier": "nowhere.Notifier", "arguments": {}},
            {"notifier": f"{__name__}.Remember", "arguments": {"message": "{{ alert.line }}: {{ alert.text }}"}},
        ],
    }
    tell(alarm, {})
    assert NOTIFIED == ["washers: the camera moved"]


NOTIFIED: list[str] = []


def _remember() -> Any:
    from airflow.sdk import BaseNotifier

    class Notifier(BaseNotifier):
        """A notifier of Airflow as providers write them."""

        template_fields = ("message",)

        def __init__(self, message: str) -> None:
            super().__init__()
            self.message = message

        def notify(self, context: Any) -> None:
            NOTIFIED.append(self.message)

    return Notifier


Remember = _remember()


def _report(diagnosis: Any) -> DriftReport:
    return DriftReport(diagnosis, ("because",), (), 100)


def test_drift_asks_for_a_training_by_the_lines_policy_and_not_again_while_it_cools_down(plant: Plant) -> None:
    now = datetime.now(UTC)
    soon, later = (_at(plant.services, now + timedelta(days=days)) for days in (1, 8))
    assert ask_for_retraining(plant.line, _report("product"), soon) is None
    for diagnosis in ("none", "camera", "defects"):
        assert ask_for_retraining(plant.line, _report(diagnosis), later) is None
    wanted = ask_for_retraining(plant.line, _report("product"), later)
    assert wanted is not None
    assert (wanted.trigger, wanted.reason, wanted.mode) == ("drift", "product: because", "refresh")
    assert ask_for_retraining(plant.line, _report("product"), _at(plant.services, now + timedelta(days=9))) is None
    # asked for is not promoted
    assert asking.champion(plant.services).model_version == "cae-washers/1"


def test_enough_new_verdicts_ask_for_a_training(plant: Plant) -> None:
    _score(plant, "2026-01-31", washers(range(300, 310)))
    line = replace(plant.line, retraining=replace(plant.line.retraining, min_verdicts=5, cool_down_days=0))
    ids = [row["image_id"] for row in asking.judged(plant.services)]
    for image_id in ids[:4]:
        say_verdict(image_id, "normal", plant.services)
        say_verdict(ids[9], "unsure", plant.services)
    assert ask_for_retraining(line, _report("none"), plant.services) is None
    say_verdict(ids[4], "defect", plant.services)
    wanted = ask_for_retraining(line, _report("none"), plant.services)
    assert wanted is not None
    assert wanted.trigger == "verdicts"
