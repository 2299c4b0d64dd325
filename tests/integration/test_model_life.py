"""Threshold, ledger, rollback, verdicts and refreshes on a small plant."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import HTTPException
from fastapi.testclient import TestClient

from cae_pipeline.adapters import label_studio, tracking
from cae_pipeline.adapters.results import thresholds, verdicts
from cae_pipeline.adapters.results.judgements import UnflaggedImage
from cae_pipeline.adapters.results.queries.anomalies import AnomalyRow
from cae_pipeline.adapters.results.queries.images import ImageHistory, show_image
from cae_pipeline.adapters.results.queries.models import LedgerRow
from cae_pipeline.domain.verdict import Use, Verdict, use_of
from cae_pipeline.errors import (
    ArtefactError,
    CaeError,
    ConfigurationError,
    NotFoundError,
    TooFewNormalImagesError,
    TooFewVerdictsError,
)
from cae_pipeline.steps.housekeeping import keep_house
from cae_pipeline.steps.life.exchange import export_verdicts
from cae_pipeline.steps.life.normal import usual_share
from cae_pipeline.steps.life.promote import approve_challenger, decision_page, promote_challenger, roll_back
from cae_pipeline.steps.life.review import review_queue, say_verdict
from cae_pipeline.steps.life.snapshot import rebuild_snapshot, take_snapshot
from cae_pipeline.steps.life.threshold import fit_to_rate, fit_to_verdicts, set_threshold
from cae_pipeline.steps.life.train import train_model
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.web.api import review_api
from cae_pipeline.web.app import reports_app
from tests import asking
from tests.conftest import Plant, deliver, washers

NIGHT = date(2026, 1, 31)


def _night(plant: Plant, batch_id: str = "2026-01-31", *, first: int = 300, defects: int = 12) -> None:
    members = washers(range(first, first + 24)) | washers(range(first + 100, first + 100 + defects), defect=True)
    deliver(plant.landing, "washers", batch_id, members)
    validate_batch(plant.line, batch_id, plant.services)
    version, chunks = plan_line(plant.line, chunk_size=512, services=plant.services)
    for chunk in chunks:
        score_slices(chunk, version, plant.services)


@pytest.fixture
def inspected(plant: Plant) -> Plant:
    """A plant with one night."""
    _night(plant)
    return plant


def _flagged(plant: Plant) -> dict[str, AnomalyRow]:
    return {row.name: row for row in asking.anomalies(plant.services, line="washers")}


def _all_scores(plant: Plant) -> list[sa.RowMapping]:
    return asking.judged(plant.services)


def _judge(plant: Plant, name: str, word: str) -> str:
    [image_id] = {row["image_id"] for row in _all_scores(plant) if row["name"] == name}
    return say_verdict(image_id, word, plant.services)


def _ledger(plant: Plant) -> list[LedgerRow]:
    return asking.ledger_rows(plant.services)


def _append(plant: Plant, given: list[Verdict]) -> int:
    with plant.services.write() as work:
        new = verdicts.append(work.connection, given)
        work.commit()
    return new


def _history(plant: Plant, image_id: str) -> ImageHistory:
    with plant.services.read() as connection:
        return show_image(connection, image_id)


def test_a_new_threshold_judges_past_scores_again_and_none_is_worked_out_again(inspected: Plant) -> None:
    before, flagged = _all_scores(inspected), _flagged(inspected)
    low = sorted(row["score"] for row in before)[3]
    changed = set_threshold(inspected.line, low, inspected.services, note="the customer is strict this week")
    after = _all_scores(inspected)
    assert (changed.num_newly_flagged, changed.num_no_longer_flagged) == (len(before) - 4 - len(flagged), 0)
    assert [(r["image_id"], r["score"], r["judged_at"]) for r in before] == [
        (r["image_id"], r["score"], r["judged_at"]) for r in after
    ]
    now = _flagged(inspected)
    assert set(now) == {row["name"] for row in after if row["score"] > low}
    assert {row.threshold for row in now.values()} == {low}
    # those that were not flagged when they were scored get their regions from the map
    assert all(row.regions for row in now.values())
    back = set_threshold(inspected.line, changed.before, inspected.services)
    assert back.num_no_longer_flagged == changed.num_newly_flagged
    assert set(_flagged(inspected)) == set(flagged)


def test_images_scored_while_the_threshold_changes_are_judged_by_the_new_one(plant: Plant) -> None:
    deliver(plant.landing, "washers", "2026-01-31", washers(range(300, 324)))
    validate_batch(plant.line, "2026-01-31", plant.services)
    version, [chunk] = plan_line(plant.line, chunk_size=512, services=plant.services)
    set_threshold(plant.line, 1e-3, plant.services)
    assert score_slices(chunk, version, plant.services).num_flagged == 24
    assert len(_flagged(plant)) == 24


def test_every_threshold_stays_in_history_with_who_when_why_and_what_it_promises(inspected: Plant) -> None:
    champion = asking.champion(inspected.services)
    set_threshold(inspected.line, champion.threshold * 1.1, inspected.services, note="fewer false alarms")
    services = replace(inspected.services, author="Ada")
    assert fit_to_rate(inspected.line, services).threshold == champion.threshold
    with inspected.services.read() as connection:
        first, given, fitted = thresholds.threshold_history(connection, champion.model_version)
    assert [row.method for row in (first, given, fitted)] == ["conformal", "given", "conformal"]
    assert (given.note, fitted.author) == ("fewer false alarms", "Ada")
    assert given.target_false_alarm_rate <= first.target_false_alarm_rate
    [*_, last] = _ledger(inspected)
    assert (last.event, last.author, last.to_threshold_id) == ("threshold", "Ada", fitted.threshold_id)
    assert last.figures["before"] == pytest.approx(champion.threshold * 1.1)
    assert asking.champion(inspected.services).threshold_id == fitted.threshold_id


def test_a_rate_that_the_images_cannot_promise_is_refused_with_how_many_are_needed(inspected: Plant) -> None:
    with pytest.raises(TooFewNormalImagesError, match=r"at least 199 normal images, received 16.*0\.059 at the least"):
        fit_to_rate(inspected.line, inspected.services, rate=0.005)
    with pytest.raises(ConfigurationError, match="expected a finite number above 0"):
        set_threshold(inspected.line, 0.0, inspected.services)
    assert len(_ledger(inspected)) == 1


def test_verdicts_choose_a_threshold_by_f1_and_by_cost(inspected: Plant) -> None:
    with pytest.raises(TooFewVerdictsError, match=r"at least 10 confirmed defects.*received 0"):
        fit_to_verdicts(inspected.line, inspected.services)
    for name in [row["name"] for row in _all_scores(inspected) if row["name"].startswith("bad")]:
        _judge(inspected, name, "defect")
    f1 = fit_to_verdicts(inspected.line, inspected.services)
    assert sum(name.startswith("bad") for name in _flagged(inspected)) >= 11
    dear_miss = fit_to_verdicts(inspected.line, inspected.services, costs=(1000, 1))
    assert dear_miss.threshold <= f1.threshold
    assert all(row["score"] > row["threshold"] for row in _all_scores(inspected) if row["name"].startswith("bad"))
    dear_alarm = fit_to_verdicts(inspected.line, inspected.services, costs=(1, 1000))
    assert dear_alarm.threshold >= dear_miss.threshold


def test_a_rollback_is_an_event_and_the_past_knows_who_served_when(challenged: Plant) -> None:
    services = challenged.services
    assert promote_challenger(challenged.line, "cae-washers/2", services).promote
    between = services.clock()
    assert roll_back(challenged.line, services, note="too many false alarms").model_version == "cae-washers/1"
    assert asking.champion(services).model_version == "cae-washers/1"
    assert asking.champion(services, as_of=between).model_version == "cae-washers/2"
    assert asking.version(services, "cae-washers/2").state == "rolled_back"
    *_, last = _ledger(challenged)
    assert [getattr(last, name) for name in ("event", "from_version", "to_version", "note")] == [
        "rollback",
        "cae-washers/2",
        "cae-washers/1",
        "too many false alarms",
    ]
    assert tracking.alias_of(services.tracking_uri, "cae-washers", "champion") == 1
    # forth again, by name
    assert roll_back(challenged.line, services, to="cae-washers/2").model_version == "cae-washers/2"
    with pytest.raises(CaeError, match="serves line 'washers' already"):
        roll_back(challenged.line, services, to="cae-washers/2")


def test_a_first_champion_has_nobody_to_go_back_to(plant: Plant) -> None:
    with pytest.raises(NotFoundError, match="Name one with --to"):
        roll_back(plant.line, plant.services)


def test_mlflows_alias_is_repaired_from_the_table(plant: Plant) -> None:
    client = mlflow.MlflowClient(plant.services.tracking_uri)
    client.delete_registered_model_alias("cae-washers", "champion")
    done = keep_house(plant.services, map_retention_days=90, backup_count=2)
    assert done.aliases_repaired == ("washers",)
    assert tracking.alias_of(plant.services.tracking_uri, "cae-washers", "champion") == 1
    assert keep_house(plant.services, map_retention_days=90, backup_count=2).aliases_repaired == ()


def test_a_line_that_wants_approval_is_served_by_the_old_model_until_a_person_agrees(challenged: Plant) -> None:
    careful = replace(challenged.line, gate=replace(challenged.line.gate, approval=True))
    with pytest.raises(CaeError, match="does not wait for approval"):
        approve_challenger(careful, "cae-washers/2", challenged.services)
    decision = promote_challenger(careful, "cae-washers/2", challenged.services)
    assert (decision.promote, decision.awaits_approval) == (True, True)
    assert asking.champion(challenged.services).model_version == "cae-washers/1"
    page = (challenged.workspace / decision_page("cae-washers/2")).read_text()
    assert "awaits approval" in page
    assert "cae champion approve washers cae-washers/2" in page
    boss = replace(challenged.services, author="boss")
    assert approve_challenger(careful, "cae-washers/2", boss).model_version == "cae-washers/2"
    assert asking.champion(challenged.services).model_version == "cae-washers/2"
    assert [(row.event, row.author) for row in _ledger(challenged)][-1] == ("promotion", "boss")


def test_the_gate_keeps_every_figure_in_row_tags_and_page(plant: Plant) -> None:
    [first] = _ledger(plant)
    figures = first.figures["challenger"]
    assert {"synthetic_auroc", "undone", "explained", "milliseconds_per_image", "peak_mib"} <= set(figures)
    assert figures["score_difference"] < 1e-4
    assert 50 < figures["peak_mib"] < 2048
    client = mlflow.MlflowClient(plant.services.tracking_uri)
    assert client.get_model_version("cae-washers", "1").tags["decision"] == "promoted"
    page = (plant.workspace / decision_page("cae-washers/1")).read_text()
    for reason in first.reasons:
        assert reason.split(": ", 1)[1] in page.replace("&#39;", "'")
    run_id = asking.version(plant.services, "cae-washers/1").run_id
    assert "gate.html" in {item.path for item in client.list_artifacts(run_id)}


def test_verdicts_flow_back_and_no_image_both_teaches_and_examines(inspected: Plant) -> None:
    rows = _all_scores(inspected)
    defects = {_judge(inspected, row["name"], "defect") for row in rows if row["name"].startswith("bad")}
    normal = {_judge(inspected, row["name"], "normal") for row in rows if row["name"].startswith("ok")}
    snapshot = take_snapshot(inspected.line, inspected.services)
    taught = set(snapshot.image_ids)
    pool = {image_id for image_id in normal if use_of(image_id, "normal") is Use.POOL}
    assert pool
    assert pool < normal
    assert taught & normal == pool
    assert not taught & defects
    # whoever is called a defect later is learnt from no more
    [turned] = sorted(pool)[:1]
    inspected_later = replace(inspected.services, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    say_verdict(turned, "defect", inspected_later)
    assert turned not in take_snapshot(inspected.line, inspected.services).image_ids


def test_a_refresh_learns_from_newly_accepted_images_and_keeps_every_part_apart(inspected: Plant) -> None:
    services = inspected.services
    champion = asking.champion(services)
    flagged = {row.image_id for row in _flagged(inspected).values()}
    line = replace(inspected.line, retraining=replace(inspected.line.retraining, max_new_per_batch=10))
    version = train_model(line, services, refresh=True)
    before = {row.image.image_id: row.part for row in asking.snapshot(services, champion.model_version)}
    after = {row.image.image_id: row.part for row in asking.snapshot(services, version.model_version)}
    assert len(after) == len(before) + 10
    assert not set(after) & flagged
    assert {image_id: after[image_id] for image_id in before} == before
    assert len(rebuild_snapshot(version.model_version, services)) == len(after)


def test_a_snapshot_that_cannot_be_rebuilt_says_which_files_are_gone(plant: Plant) -> None:
    version = asking.champion(plant.services)
    assert Counter(row.part for row in rebuild_snapshot(version.model_version, plant.services)) == {
        "train": 52,
        "validation": 12,
        "calibration": 16,
    }
    (plant.landing / "washers/normal-1/ok00107.png").write_bytes(b"another picture")
    with pytest.raises(ArtefactError, match=r"1 of the 80 images .* normal-1/ok00107.png"):
        rebuild_snapshot(version.model_version, plant.services)


def test_a_refresh_takes_at_most_so_many_of_a_batch_and_keeps_the_oddest_back() -> None:
    unflagged = [UnflaggedImage(f"{n}.png", f"{n:064x}", (n + 1) / 20) for n in range(20)]
    chosen = usual_share(unflagged, max_images=15, review_share=0.1)
    assert len(set(chosen)) == 15
    assert not {"0.png", "1.png"} & set(chosen)
    assert set(usual_share(unflagged, max_images=99, review_share=0.1)) == {f"{n}.png" for n in range(2, 20)}


def test_the_queue_begins_at_the_threshold_and_brings_new_kinds_until_all_are_judged(inspected: Plant) -> None:
    champion = asking.champion(inspected.services)
    queue = review_queue(inspected.line, inspected.services, count=9)
    assert [row.why for row in queue].count("new_kind") == 3
    near = [row.image.score / champion.threshold for row in queue if row.why == "near_threshold"]
    far = [max(ratio, 1 / ratio) for ratio in near]
    assert far == sorted(far)
    judged = queue[0].image.image_id
    say_verdict(judged, "unsure", inspected.services)
    everything = review_queue(inspected.line, inspected.services, count=999)
    assert len(everything) == 35
    assert judged not in {row.image.image_id for row in everything}


def test_precision_comes_with_its_interval(inspected: Plant) -> None:
    names = list(_flagged(inspected))
    for name in names[:4]:
        _judge(inspected, name, "defect")
    _judge(inspected, names[4], "normal")
    [rate] = [row for row in asking.rates(inspected.services) if row.night == NIGHT]
    assert (rate.num_confirmed, rate.num_false_alarms, rate.precision) == (4, 1, 0.8)
    assert (rate.precision_low, rate.precision_high) == pytest.approx((0.3755, 0.9638), abs=1e-3)


def test_label_studio_gets_predictions_and_gives_verdicts_once(inspected: Plant, tmp_path: Path) -> None:
    image_id = _judge(inspected, next(iter(_flagged(inspected))), "defect")
    exported = tmp_path / "tasks.json"
    export_verdicts(inspected.line, exported, inspected.services, prefix="s3://landing/")
    tasks = json.loads(exported.read_text())
    [task] = [task for task in tasks if task["data"]["image_id"] == image_id]
    assert task["data"]["image"].startswith("s3://landing/washers/2026-01-31/bad")
    [prediction] = task["predictions"]
    assert prediction["result"][0]["value"] == {"choices": ["defect"]}
    box = prediction["result"][1]["value"]
    assert 0 <= box["x"] <= box["x"] + box["width"] <= 100
    [annotation] = task["annotations"]
    assert annotation["result"][0]["value"] == {"choices": ["defect"]}
    # what comes back from Label Studio: a user's id, its own way of writing a time, one skipped task
    annotation |= {"completed_by": 7, "created_at": "2026-02-01T10:00:00.123456Z", "was_cancelled": False}
    annotation["result"][0]["value"] = {"choices": ["normal"]}
    tasks[0]["annotations"].append({"result": [], "was_cancelled": True, "created_at": "2026-02-01T10:00:00Z"})
    export = tmp_path / "export.json"
    export.write_text(json.dumps(tasks))
    said = label_studio.read_verdicts(export)
    assert [_append(inspected, said) for _ in range(2)] == [1, 0]
    known = _history(inspected, image_id).verdicts
    assert [(verdict.verdict, verdict.author) for verdict in known][1:] == [("normal", "label-studio:7")]


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "no JSON"), ("{}", "a list of tasks"), ('[{"image": 1}]', "task 1.*not JSON-MIN")],
)
def test_what_is_no_export_of_label_studio_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        label_studio.read_verdicts(path)


def test_an_import_that_names_an_unknown_image_writes_nothing(inspected: Plant) -> None:
    [known] = [row["image_id"] for row in _all_scores(inspected)][:1]
    said = [Verdict(image_id, "defect", "me", datetime.now(UTC)) for image_id in (known, "f" * 64)]
    with pytest.raises(NotFoundError):
        _append(inspected, said)
    assert _history(inspected, known).verdicts == ()


def test_the_api_takes_verdicts_from_who_may_judge_and_from_nobody_else(inspected: Plant) -> None:
    def refuse() -> str:
        raise HTTPException(403)

    def client(judge: Any) -> TestClient:
        app = reports_app(inspected.workspace / "reports", dependencies=[])
        app.include_router(review_api(lambda: inspected.services, judge=judge))
        return TestClient(app)

    api = client(lambda: "ada")
    queue = api.get("/api/lines/washers/queue?count=3").json()
    assert len(queue) == 3
    image_id = queue[0]["image_id"]
    address = f"/api/images/{image_id[:16]}/verdicts"
    said = api.post(address, json={"verdict": "defect", "note": "crack"})
    assert (said.status_code, said.json()["author"]) == (201, "ada")
    [row] = api.get(f"/api/images/{image_id}").json()["verdicts"]
    assert (row["verdict"], row["author"], row["note"]) == ("defect", "ada", "crack")
    assert api.post(address, json={"verdict": "fine"}).status_code == 422
    assert api.post("/api/images/ffff/verdicts", json={"verdict": "defect"}).status_code == 404
    assert api.get("/api/lines/nowhere/queue").status_code == 404
    # a form of another site cannot send JSON
    assert api.post(address, content='{"verdict": "defect"}', headers={"content-type": "text/plain"}).status_code == 422
    assert client(refuse).post(address, json={"verdict": "defect"}).status_code == 403
    assert len(_history(inspected, image_id).verdicts) == 1


def test_codes_are_kept_with_the_scores(inspected: Plant) -> None:
    rows = _all_scores(inspected)
    latents = np.stack([np.frombuffer(row["latent"], "<f2") for row in rows])
    assert latents.shape == (36, inspected.line.model.latent_size)
    assert np.isfinite(latents).all()
    assert latents.std(axis=0).max() > 0
