"""The steps together, on real files, both databases, Great Expectations, MLflow and a small network."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results import integrity, schema
from cae_pipeline.adapters.results.queries.images import show_image
from cae_pipeline.detector.error_maps import NetworkOutputs
from cae_pipeline.detector.scorer import Forward
from cae_pipeline.detector.sessions import onnx_forward
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.errors import BatchRejectedError, CaeError, NoChampionError, NotFoundError
from cae_pipeline.reporting import pictures
from cae_pipeline.steps.housekeeping import keep_house
from cae_pipeline.steps.life import gate
from cae_pipeline.steps.life.promote import promote_challenger
from cae_pipeline.steps.life.review import release_images, say_verdict
from cae_pipeline.steps.life.snapshot import take_snapshot
from cae_pipeline.steps.life.train import train_model
from cae_pipeline.steps.night import load
from cae_pipeline.steps.night.find import find_batches
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.publish import publish_night
from cae_pipeline.steps.night.read import read_image, read_images
from cae_pipeline.steps.night.rescore import plan_rescoring
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.night.watch import watch_drift
from tests import asking
from tests.conftest import Plant, at_once, deliver, png, washer, washers

NIGHT = date(2026, 1, 31)
TROUBLE = {
    "t1.png": png(washer(7))[:400],
    "t2.png": washers([300])["ok00300.png"],
    "t3.png": b"no trigger signal",
    "t4.png": png(np.zeros((48, 48), np.uint8)),
    "t5.png": png(washer(8)[:40]),
}
REASONS = {
    "t1.png": "truncated",
    "t2.png": "duplicate",
    "t3.png": "not_an_image",
    "t5.png": "wrong_size",
}


def _night(plant: Plant, batch_id: str = "2026-01-31") -> str:
    files = washers(range(300, 320)) | washers(range(400, 410), defect=True) | TROUBLE
    deliver(plant.landing, "washers", batch_id, files)
    return validate_batch(plant.line, batch_id, plant.services).delivery_key


def _score(plant: Plant) -> int:
    version, chunks = plan_line(plant.line, chunk_size=16, services=plant.services)
    return sum(score_slices(chunk, version, plant.services).num_scored for chunk in chunks)


def _counts(plant: Plant) -> dict[str, int]:
    with plant.services.engine.connect() as connection:
        return {
            name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for name, table in schema.metadata.tables.items()
        }


def _scored(plant: Plant, model_version: str) -> list[str]:
    return [row["name"] for row in asking.judged(plant.services, model_version=model_version, outcome="scored")]


def test_an_image_out_of_its_limits_is_listed_with_its_reason_and_its_score(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    [dark] = [row for row in asking.odd_images(plant.services) if row.reason == "too_dark"]
    assert (dark.name, dark.status) == ("t4.png", "accepted")
    assert dark.score is not None
    assert "wanted at least" in dark.detail
    [rates] = [row for row in asking.rates(plant.services) if row.night == NIGHT]
    assert (rates.num_images, rates.num_quarantined, rates.num_out_of_limits, rates.num_scored) == (35, 4, 1, 30)
    assert rates.num_waiting == 0
    assert rates.num_flagged == sum(row.reason == "" for row in asking.anomalies(plant.services))


def test_every_member_of_a_finished_batch_is_scored_or_quarantined_with_its_reason(plant: Plant) -> None:
    key = _night(plant)
    _score(plant)
    with plant.services.engine.connect() as connection:
        rows = connection.execute(sa.select(schema.images).where(schema.images.c.delivery_key == key)).mappings().all()
    judged = {row["name"] for row in asking.judged(plant.services, delivery_key=key)}
    assert {row["name"]: row["reason"] for row in rows if row["status"] == "quarantined"} == REASONS
    assert judged == {row["name"] for row in rows if row["status"] == "accepted"}
    assert len(judged) == 31  # one of them too dark: it is scored all the same
    delivery = asking.delivery(plant.services)
    assert delivery.status == "scored"
    assert (plant.workspace / delivery.data_docs_uri).read_text().startswith("<!DOCTYPE html>")


def test_defects_are_flagged_and_normal_images_mostly_are_not(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    flagged = Counter(row.name[:3] for row in asking.anomalies(plant.services))
    assert flagged["bad"] >= 9
    assert flagged["ok0"] <= 6


def test_a_flagged_image_points_at_its_defect_and_carries_its_lineage(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    worst = next(row for row in asking.anomalies(plant.services) if not row.reason)
    version = asking.champion(plant.services)
    assert (worst.model_version, worst.run_id) == (version.model_version, version.run_id)
    assert 0 < worst.p_value <= 0.1
    clean, bitten = washer(int(worst.name[3:8])), washer(int(worst.name[3:8]), defect=True)
    place = np.argwhere(np.abs(clean.astype(int) - bitten) > 40).mean(axis=0)
    box = worst.regions[0]
    assert box["x_px"] - 4 <= place[1] <= box["x_px"] + box["width_px"] + 4
    assert box["y_px"] - 4 <= place[0] <= box["y_px"] + box["height_px"] + 4
    multiples = pictures.decode_map(plant.workspace / worst.map_uri)
    assert multiples.shape == (32, 32)
    assert multiples.max() == pytest.approx(worst.score / worst.threshold, abs=2e-3)


def test_the_same_batch_delivered_twice_is_scored_once(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    before = _counts(plant)
    again = validate_batch(plant.line, "2026-01-31", plant.services)
    assert again.already_there
    assert _score(plant) == 0
    assert _counts(plant) == before


def test_two_scoring_processes_at_once_end_as_if_one_had_run(plant: Plant) -> None:
    _night(plant)
    version, chunks = plan_line(plant.line, chunk_size=512, services=plant.services)
    assert at_once(lambda: score_slices(chunks[0], version, plant.services), times=2) == []
    assert len(_scored(plant, version.model_version)) == 31


def test_a_batch_that_fails_as_a_whole_says_expectation_seen_and_wanted_every_time(plant: Plant) -> None:
    dark = {f"d{i:02}.png": png((washer(i) * 0.02).astype(np.uint8)) for i in range(20)}
    deliver(plant.landing, "washers", "2026-01-31", dark | washers([300, 301]))
    for _ in range(2):
        with pytest.raises(BatchRejectedError, match=r"out of limits: seen 0.9091, wanted at most 0.7"):
            validate_batch(plant.line, "2026-01-31", plant.services)
    with plant.services.engine.connect() as connection:
        found = sa.select(schema.images.c.reason).where(schema.images.c.name.in_(["ok00300.png", "d00.png"]))
        assert sorted(connection.scalars(found)) == ["batch_rejected", "too_dark"]
    _, chunks = plan_line(plant.line, chunk_size=16, services=plant.services)
    assert chunks == []


def test_a_rejected_batch_can_be_released_and_is_then_scored(plant: Plant) -> None:
    deliver(plant.landing, "washers", "2026-01-31", washers([300, 301]))
    with pytest.raises(BatchRejectedError):
        validate_batch(plant.line, "2026-01-31", plant.services)
    services = replace(plant.services, author="me")
    assert release_images("washers", "2026-01-31", (), services, note="a short shift").released == 2
    assert release_images("washers", "2026-01-31", (), services).released == 0
    assert _score(plant) == 2
    [shown] = [row for row in asking.odd_images(services) if row.name == "ok00300.png"]
    assert (shown.reason, shown.released_by) == ("batch_rejected", "me")
    [rate] = [row for row in asking.rates(services) if row.night == NIGHT]
    assert (rate.num_images, rate.num_quarantined, rate.num_scored, rate.num_waiting) == (2, 0, 2, 0)


def test_a_file_that_changed_after_its_manifest_is_quarantined_as_such(plant: Plant) -> None:
    folder = deliver(plant.landing, "washers", "2026-01-31", washers(range(300, 306)))
    (folder / "ok00300.png").write_bytes(png(washer(999)))
    (folder / "ok00301.png").unlink()
    # somebody's word that no more will come
    (folder / "_SUCCESS").touch()
    key = validate_batch(plant.line, "2026-01-31", plant.services).delivery_key
    assert {row.name: row.reason for row in asking.odd_images(plant.services)} == {
        "ok00300.png": "changed",
        "ok00301.png": "missing",
    }
    with plant.services.read() as connection:
        assert len(image_rows.usual_images(connection, [key])) == 4


def test_a_file_that_changes_after_validation_fails_and_never_passes_for_normal(plant: Plant) -> None:
    _night(plant)
    (plant.landing / "washers" / "2026-01-31" / "ok00305.png").write_bytes(png(washer(999)))
    _score(plant)
    [row] = [row for row in asking.odd_images(plant.services) if row.status == "failed"]
    assert (row.name, row.reason) == ("ok00305.png", "changed")
    assert "other bytes" in row.detail
    assert asking.delivery(plant.services).status == "scored"


def test_training_and_scoring_see_the_same_pixels_of_every_kind_of_file(plant: Plant) -> None:
    colour = np.repeat(washer(1)[..., None], 3, axis=2)
    turned, large = io.BytesIO(), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(turned, "JPEG", quality=95, exif=exif)
    Image.fromarray(np.kron(washer(2), np.ones((8, 8), np.uint8))).save(large, "JPEG", quality=95)
    files = {
        "colour.png": png(colour),
        "deep.png": png(washer(3).astype(np.uint16) * 257),
        "large.jpg": large.getvalue(),
        "turned.jpg": turned.getvalue(),
    }
    deliver(plant.landing, "washers", "normal-2", files)
    limitless = replace(plant.line, validation=ValidationSettings(modes=("L", "RGB", "I;16"), near_duplicates=False))
    validate_batch(limitless, "normal-2", plant.services)
    release_images("washers", "normal-2", (), plant.services, note="another camera")
    snapshot = take_snapshot(limitless, plant.services)
    others = [image for image in snapshot.images if image.batch_id == "normal-2"]
    assert {image.name for image in others} == set(files)
    for image, trained_on in zip(snapshot.images, snapshot.pixels, strict=True):
        scored_on = read_image(image, snapshot.model, plant.services).pixels
        assert scored_on is not None
        np.testing.assert_array_equal(scored_on, trained_on)


def test_every_runtime_writes_the_same_rows(plant: Plant) -> None:
    key = _night(plant)
    rows: dict[str, list[Any]] = {}
    for runtime in ("keras", "onnx", "openvino"):
        _score(replace(plant, services=replace(plant.services, runtime=runtime)))
        rows[runtime] = asking.judged(plant.services, delivery_key=key)
        with plant.services.engine.begin() as connection:
            connection.execute(sa.delete(schema.judgements).where(schema.judgements.c.delivery_key == key))
            delivery = schema.deliveries.c.delivery_key == key
            waiting = sa.update(schema.deliveries).where(delivery).values(status="validated", finished_at=None)
            connection.execute(waiting)
    for runtime in ("onnx", "openvino"):
        assert len(rows[runtime]) == len(rows["keras"]) == 31
        for ours, reference in zip(rows[runtime], rows["keras"], strict=True):
            assert ours["score"] == pytest.approx(reference["score"], rel=1e-4)
            assert ours["p_value"] == reference["p_value"]
            boxes = [[{**region, "peak": 0} for region in row["regions"]] for row in (ours, reference)]
            assert boxes[0] == boxes[1]
            assert ours["map_uri"] == reference["map_uri"]


def test_a_registered_model_says_how_far_it_is_from_the_trained_one(plant: Plant) -> None:
    figures = asking.champion(plant.services).figures
    assert 0 <= figures["export_reconstruction_difference"] <= 1e-5
    assert 0 <= figures["export_score_difference"] <= 1e-4
    assert figures["openvino_speedup"] > 0


def _nothing_but_nan(forward: Forward) -> Forward:
    def broken(tiles: Pixels) -> NetworkOutputs:
        outputs = forward(tiles)
        return replace(outputs, reconstructions=np.full_like(outputs.reconstructions, np.nan))

    return broken


def test_broken_weights_fail_their_images_and_flag_none_as_normal(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    _night(plant)
    monkeypatch.setattr(load, "onnx_forward", lambda graph: _nothing_but_nan(onnx_forward(graph)))
    _score(replace(plant, services=replace(plant.services, runtime="onnx")))
    assert _scored(plant, "cae-washers/1") == []
    failed = [row for row in asking.odd_images(plant.services) if row.status == "failed"]
    assert {row.reason for row in failed} == {"not_finite"}
    assert len(failed) == 31


def test_a_near_duplicate_is_told_from_a_duplicate(plant: Plant) -> None:
    night = washers(range(300, 306))
    almost = np.clip(washer(300).astype(int) + 1, 0, 255).astype(np.uint8)
    deliver(plant.landing, "washers", "2026-01-31", night | {"z.png": png(almost)})
    validate_batch(plant.line, "2026-01-31", plant.services)
    with plant.services.read() as connection:
        members = image_rows.members_of(connection, asking.delivery(plant.services).delivery_key)
    odd = {image.name: (image.reason, image.status) for image in members if image.reason}
    # it is said of the image, which is scored like any other
    assert odd == {"z.png": ("near_duplicate", "accepted")}
    assert asking.odd_images(plant.services) == []


def test_an_image_of_an_earlier_night_is_a_duplicate_but_the_batch_delivered_again_is_not(plant: Plant) -> None:
    deliver(plant.landing, "washers", "2026-01-30", washers(range(300, 304)))
    validate_batch(plant.line, "2026-01-30", plant.services)
    deliver(plant.landing, "washers", "2026-01-31", washers(range(303, 308)))
    validate_batch(plant.line, "2026-01-31", plant.services)
    deliver(plant.landing, "washers", "2026-01-30", washers(range(300, 305)))
    again = validate_batch(plant.line, "2026-01-30", plant.services)
    assert not again.already_there
    rows = asking.odd_images(plant.services, sort="night")
    assert [(row.batch_id, row.name) for row in rows] == [("2026-01-31", "ok00303.png")]


def test_finding_skips_what_is_finished_later_or_trains(plant: Plant) -> None:
    _night(plant, "2026-01-30")
    _score(plant)
    deliver(plant.landing, "washers", "2026-01-31", washers([310]))
    deliver(plant.landing, "washers", "2026-02-01", washers([311]))
    deliver(plant.landing, "washers", "2026-01-29-late", washers([312]))
    deliver(plant.landing, "washers", "2026-01-28", washers([313]), manifest=False)
    found = find_batches(plant.line, NIGHT, plant.services)
    assert found.batch_ids == ("2026-01-29-late", "2026-01-31")
    assert found.num_finished == 1
    assert found.not_ready == ("2026-01-28",)


def test_images_of_a_line_without_a_champion_wait(line: Any, services: Any, workspace: Path) -> None:
    deliver(workspace / "landing", "washers", "2026-01-31", washers(range(300, 305)))
    validate_batch(line, "2026-01-31", services)
    with pytest.raises(NoChampionError):
        plan_line(line, chunk_size=16, services=services)
    report = publish_night(NIGHT, [line], services).path.read_text()
    assert "waiting for a model" in report


def test_the_report_shows_counts_reasons_maps_and_needs_nothing_beside_it(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    watch_drift(plant.line, NIGHT, plant.services)
    done = publish_night(NIGHT, [plant.line], plant.services)
    html = done.path.read_text()
    assert (done.num_images, done.num_quarantined) == (35, 4)
    assert html.count("data:image/jpeg;base64,") == 2 * done.num_flagged
    for text in ("not_an_image", "truncated", "threshold", "p-value", "What has moved since training", "<svg"):
        assert text in html
    assert "http://" not in html
    assert "https://" not in html


def test_names_from_outside_are_text_in_the_report_and_not_html(plant: Plant) -> None:
    night = washers(range(300, 304)) | {"<script>alert(1)<&.png": b"x"}
    deliver(plant.landing, "washers", "2026-01-31", night)
    validate_batch(plant.line, "2026-01-31", plant.services)
    html = publish_night(NIGHT, [plant.line], plant.services).path.read_text()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_a_second_model_sees_the_verdicts_and_judges_old_batches_beside_the_first(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    before_second = plant.services.clock()
    for row in asking.anomalies(plant.services)[:5]:
        say_verdict(row.image_id, "defect", plant.services)
    version = train_model(plant.line, plant.services, refresh=True)
    metrics = mlflow.MlflowClient(plant.services.tracking_uri).get_run(version.run_id).data.metrics
    assert metrics["num_defects_by_verdict"] == 5
    assert metrics["verdict_auroc"] > 0.95
    promote_challenger(plant.line, version.model_version, plant.services)
    planned = plan_rescoring(
        "washers", (NIGHT, NIGHT), judge=version.model_version, chunk_size=99, services=plant.services
    )
    [chunk] = planned.chunks
    assert score_slices(chunk, planned.version, plant.services, again=True).num_scored == 31
    assert {row.model_version for row in asking.anomalies(plant.services)} == {"cae-washers/2"}
    by_first = asking.anomalies(plant.services, model_version="cae-washers/1")
    assert {row.model_version for row in by_first} == {"cae-washers/1"}
    then = plan_rescoring("washers", (NIGHT, NIGHT), judge=before_second, chunk_size=99, services=plant.services)
    assert then.version.model_version == "cae-washers/1"
    with pytest.raises(NotFoundError, match="Known: cae-washers/1, cae-washers/2"):
        plan_rescoring("washers", (NIGHT, NIGHT), judge="cae-washers/9", chunk_size=9, services=plant.services)
    with plant.services.read() as connection:
        assert integrity.integrity_problems(connection) == []


def test_the_gate_judges_on_images_the_challenger_has_not_trained_on_whatever_its_seed(
    challenged: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = asking.snapshot(challenged.services, "cae-washers/2")
    parts = {
        part: {row.image.key for row in members if row.part == part} for part in ("train", "validation", "calibration")
    }
    assert [len(members) for members in parts.values()] == [52, 12, 16]
    assert len(set.union(*parts.values())) == 80
    first = asking.snapshot(challenged.services, "cae-washers/1")
    assert parts["calibration"] != {row.image.key for row in first if row.part == "calibration"}
    looked_at: set[tuple[str, str]] = set()

    def spy(rows: Any, *rest: Any, **more: Any) -> Any:
        looked_at.update(image.key for image in rows)
        return read_images(rows, *rest, **more)

    monkeypatch.setattr(gate, "read_images", spy)
    promote_challenger(challenged.line, "cae-washers/2", challenged.services)
    assert looked_at == parts["calibration"]


def test_a_champion_whose_files_are_broken_does_not_bar_its_successor(challenged: Plant) -> None:
    champion = asking.champion(challenged.services)
    specification = challenged.services.model_folder(champion.artefact_sha256) / "specification.json"
    specification.write_text(specification.read_text() + " ")
    decision = promote_challenger(challenged.line, "cae-washers/2", challenged.services)
    assert decision.promote, decision.reasons
    assert decision.figures["champion"] is None
    assert asking.champion(challenged.services).model_version == "cae-washers/2"


def test_a_challenger_that_learnt_nothing_is_refused_and_the_champion_stays(plant: Plant) -> None:
    # only the view of a network that was hardly trained: what it rebuilds is grey, whatever it is shown
    lazy = replace(
        plant.line,
        model=replace(plant.line.model, heads=("intensity",)),
        training=replace(plant.line.training, epochs=1, learning_rate=1e-6),
    )
    version = train_model(lazy, plant.services)
    decision = promote_challenger(plant.line, version.model_version, plant.services)
    assert not decision.promote
    assert asking.champion(plant.services).model_version == "cae-washers/1"
    [_, refused] = asking.ledger_rows(plant.services)
    assert refused.event == "refusal"


def test_mlflow_shows_what_a_person_needs_to_judge_a_run(plant: Plant) -> None:
    version = asking.champion(plant.services)
    client = mlflow.MlflowClient(plant.services.tracking_uri)
    run = client.get_run(version.run_id)
    assert run.data.params["model.filters"] == "[8, 16]"
    assert run.data.params["training.seed"] == "0"
    assert len(client.get_metric_history(version.run_id, "val_loss")) == 12
    assert {"synthetic_auroc", "threshold", "validation_loss", "train_seconds"} <= set(run.data.metrics)
    assert (run.data.tags["code_version"], run.data.tags["decision"]) == ("0.1.0", "promoted")
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.digest == version.snapshot_sha256[:32]
    files = {item.path for item in client.list_artifacts(version.run_id)}
    assert {
        "contact-sheet-normal.png",
        "contact-sheet-synthetic-defects.png",
        "score-histogram.png",
        "layers.txt",
        "scorer",
        "snapshot.csv",
    } <= files
    champion = client.get_model_version_by_alias("cae-washers", "champion")
    assert int(champion.version) == 1
    [logged] = client.search_logged_models([run.info.experiment_id])
    mlflow.set_tracking_uri(plant.services.tracking_uri)
    signature = mlflow.models.get_model_info(logged.model_uri).signature
    assert json.loads(signature.to_dict()["inputs"])[0]["tensor-spec"]["shape"] == [-1, 32, 32, 1]


def test_a_model_that_is_not_in_the_workspace_is_fetched_from_mlflow(plant: Plant) -> None:
    import shutil

    shutil.rmtree(plant.workspace / "models")
    _night(plant)
    assert _score(plant) > 0


def test_a_moved_camera_light_is_reported_as_drift(plant: Plant) -> None:
    brighter = {f"b{i}.png": png(np.clip(washer(i).astype(int) + 14, 0, 255).astype(np.uint8)) for i in range(700, 730)}
    deliver(plant.landing, "washers", "2026-01-31", brighter)
    validate_batch(plant.line, "2026-01-31", plant.services)
    assert "brightness" in watch_drift(plant.line, NIGHT, plant.services).moved


def test_housekeeping_keeps_flagged_maps_and_finds_lost_scores(plant: Plant) -> None:
    import os

    key = _night(plant)
    _score(plant)
    for path in (plant.workspace / "maps").rglob("*.png"):
        os.utime(path, (0, 0))
    flagged = len(asking.anomalies(plant.services))
    done = keep_house(plant.services, map_retention_days=90, backup_count=2)
    assert done.num_maps_removed == 31 - flagged
    assert len(list((plant.workspace / "maps").rglob("*.png"))) == flagged
    with plant.services.engine.begin() as connection:
        lost = (schema.judgements.c.delivery_key == key, schema.judgements.c.name == "ok00310.png")
        connection.execute(sa.delete(schema.judgements).where(*lost))
    with pytest.raises(CaeError, match=r"ok00310.png is neither scored nor quarantined"):
        keep_house(plant.services, map_retention_days=90, backup_count=2)


@pytest.mark.sqlite_only("a database server has backups of its own")
def test_housekeeping_backs_up_every_row(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    done = keep_house(plant.services, map_retention_days=90, backup_count=2)
    copy = sa.create_engine(f"sqlite:///{plant.workspace / done.backup}")
    with copy.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(schema.judgements)) == 31


def test_a_verdict_stays_when_an_image_is_judged_again(plant: Plant) -> None:
    _night(plant)
    _score(plant)
    image_id = next(row.image_id for row in asking.anomalies(plant.services) if not row.reason)
    for word in ("unsure", "defect"):
        say_verdict(image_id, word, plant.services)
    assert [row.image_id for row in asking.anomalies(plant.services, verdict="defect")] == [image_id]
    assert image_id not in [row.image_id for row in asking.anomalies(plant.services, verdict="none")]
    [rate] = [row for row in asking.rates(plant.services) if row.night == NIGHT]
    assert rate.num_confirmed == 1
    with plant.services.read() as connection:
        given = show_image(connection, image_id[:16]).verdicts
    assert [verdict.verdict for verdict in given] == ["unsure", "defect"]
