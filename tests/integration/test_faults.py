"""A fault that may pass decides nothing; one that stays costs only what it touches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from cae_pipeline.adapters import decoding, tracking
from cae_pipeline.adapters.results import schema
from cae_pipeline.detector.error_maps import NetworkOutputs
from cae_pipeline.detector.scorer import Forward
from cae_pipeline.detector.sessions import onnx_forward
from cae_pipeline.domain.images import Pixels
from cae_pipeline.errors import ArtefactError, CaeError, ConfigurationError, StorageError
from cae_pipeline.steps.housekeeping import keep_house
from cae_pipeline.steps.life.promote import promote_challenger, roll_back
from cae_pipeline.steps.night import load, measure, score
from cae_pipeline.steps.night.find import find_batches
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.publish import publish_night
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from tests import asking
from tests.conftest import Plant, deliver, png, washer, washers
from tests.integration.test_pipeline import NIGHT

BATCH = str(NIGHT)


def _deliver(plant: Plant, first: int = 300, count: int = 20) -> Path:
    folder = deliver(plant.landing, "washers", BATCH, washers(range(first, first + count)))
    validate_batch(plant.line, BATCH, plant.services)
    return folder


def _score(plant: Plant) -> int:
    version, chunks = plan_line(plant.line, chunk_size=512, services=plant.services)
    return sum(score_slices(chunk, version, plant.services).num_scored for chunk in chunks)


def _hiccups(plant: Plant, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    """Let the landing zone fail to give one file, as a share does that is away for a while."""
    whole = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "ok00307.png":
            raise problem
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)


@pytest.mark.parametrize("problem", [OSError(5, "Input/output error"), TimeoutError("stale"), MemoryError()])
def test_a_share_that_hiccups_fails_the_task_and_its_images_wait(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    _deliver(plant)
    with monkeypatch.context() as away:
        _hiccups(plant, away, problem)
        with pytest.raises(StorageError, match=r"ok00307.png cannot be read just now") as caught:
            _score(plant)
    assert caught.value.retryable
    assert asking.delivery(plant.services).status == "validated"
    assert [row for row in asking.odd_images(plant.services) if row.status == "failed"] == []
    # tried again once the share is back, as Airflow does
    _score(plant)
    [rates] = [row for row in asking.rates(plant.services) if row.night == NIGHT]
    assert (rates.num_scored, rates.num_failed, rates.num_waiting) == (20, 0, 0)


def test_a_share_that_is_gone_with_its_folders_is_no_missing_file(plant: Plant) -> None:
    folder = _deliver(plant)
    folder.rename(folder.with_name("unmounted"))
    with pytest.raises(StorageError):
        _score(plant)
    folder.with_name("unmounted").rename(folder)
    (folder / "ok00307.png").unlink()
    _score(plant)
    [failed] = [row for row in asking.odd_images(plant.services) if row.status == "failed"]
    assert (failed.name, failed.reason) == ("ok00307.png", "missing")


def test_a_share_that_hiccups_while_a_batch_is_validated_decides_nothing(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(plant.landing, "washers", BATCH, washers(range(300, 306)))

    def away(*_arguments: Any) -> Iterator[Any]:
        raise OSError(5, "Input/output error")
        yield

    with monkeypatch.context() as patched:
        patched.setattr(measure, "measure_files", away)
        with pytest.raises(StorageError) as caught:
            validate_batch(plant.line, BATCH, plant.services)
    assert caught.value.retryable
    assert validate_batch(plant.line, BATCH, plant.services).num_quarantined == 0


def test_a_decoding_process_hands_a_fault_of_the_disk_on(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        list(decoding.measure_files([tmp_path], decoding.DecodeLimits()))


def _nan_for(threshold: float) -> Any:
    """Networks whose answer is NaN for pictures whose first pixel is bright, as a broken weight may be."""

    def broken(graph: bytes) -> Forward:
        whole = onnx_forward(graph)

        def forward(tiles: Pixels) -> NetworkOutputs:
            outputs = whole(tiles)
            reconstructions = outputs.reconstructions.copy()
            reconstructions[tiles[:, 0, 0, 0] > threshold] = np.nan
            return replace(outputs, reconstructions=reconstructions)

        return forward

    return broken


def test_one_nan_fails_its_own_image_for_that_model_alone_and_a_rollback_scores_it(
    challenged: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = replace(challenged.services, runtime="onnx")
    plant = replace(challenged, services=services)
    assert promote_challenger(plant.line, "cae-washers/2", services).promote
    bright = washer(900)
    bright[:2, :2] = 255
    files = washers(range(300, 320)) | {"bright.png": png(bright)}
    deliver(plant.landing, "washers", BATCH, files)
    validate_batch(plant.line, BATCH, services)
    with monkeypatch.context() as broken:
        broken.setattr(load, "onnx_forward", _nan_for(200))
        assert _score(plant) == 20
    [failed] = [row for row in asking.odd_images(services) if row.status == "failed"]
    assert (failed.name, failed.reason) == ("bright.png", "not_finite")
    assert asking.delivery(plant.services).status == "scored"
    [rates] = [row for row in asking.rates(services) if row.night == NIGHT]
    assert (rates.num_images, rates.num_scored, rates.num_failed, rates.num_waiting) == (21, 20, 1, 0)
    roll_back(plant.line, services)
    assert _score(plant) == 1
    [judged] = asking.judged(services, name="bright.png", is_current=True)
    assert (judged["model_version"], judged["outcome"]) == ("cae-washers/1", "scored")
    assert asking.delivery(services).status == "scored"


def test_a_model_that_was_copied_by_halves_is_fetched_whole(plant: Plant) -> None:
    champion = asking.champion(plant.services)
    folder = plant.services.model_folder(champion.artefact_sha256)
    (folder / "networks.onnx").unlink()
    _deliver(plant)
    assert _score(plant) == 20
    assert sorted(path.name for path in folder.iterdir()) == [
        "arrays.npz",
        "networks.onnx",
        "specification.json",
        "weights.npz",
    ]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_model_that_is_not_the_one_that_was_registered_is_not_put_in_place(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = asking.champion(plant.services)
    shutil.rmtree(plant.services.model_folder(champion.artefact_sha256))
    whole = tracking.fetch_artefact

    def fetch(*arguments: Any) -> Path:
        folder = whole(*arguments)
        (folder / "specification.json").write_text("{}")
        return folder

    monkeypatch.setattr(tracking, "fetch_artefact", fetch)
    _deliver(plant)
    with pytest.raises(ArtefactError, match="as registered"):
        _score(plant)
    assert list((plant.workspace / "models").iterdir()) == []


def test_a_dead_mlflow_keeps_housekeeping_from_nothing_else(plant: Plant) -> None:
    _deliver(plant)
    _score(plant)
    dead = replace(plant.services, tracking_uri=f"sqlite:///{plant.workspace / 'lines.toml'}")
    with pytest.raises(ConfigurationError, match="does not answer"):
        keep_house(dead, map_retention_days=90, backup_count=2)
    with plant.services.engine.begin() as connection:
        lost = schema.judgements.c.name == "ok00305.png"
        connection.execute(sa.delete(schema.judgements).where(lost))
    with pytest.raises(CaeError, match=r"ok00305.png is neither scored nor quarantined"):
        keep_house(dead, map_retention_days=90, backup_count=2)


def test_a_file_that_arrives_while_its_batch_is_decoded_is_looked_at_the_next_time(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deliver(plant.landing, "washers", BATCH, washers(range(300, 306)), manifest=False)
    (folder / "_SUCCESS").touch()
    whole = decoding.measure_files

    def slowly(*arguments: Any) -> Iterator[Any]:
        measured = list(whole(*arguments))
        (folder / "late.png").write_bytes(png(washer(999)))
        yield from measured

    with monkeypatch.context() as patched:
        patched.setattr(measure, "measure_files", slowly)
        assert validate_batch(plant.line, BATCH, plant.services).num_images == 6
    _score(plant)
    assert find_batches(plant.line, NIGHT, plant.services).batch_ids == (BATCH,)
    assert validate_batch(plant.line, BATCH, plant.services).num_images == 7
    # what was said of the others is said in the new delivery too
    assert _score(plant) == 1
    assert find_batches(plant.line, NIGHT, plant.services).batch_ids == ()
    [rates] = [row for row in asking.rates(plant.services) if row.night == NIGHT]
    assert (rates.num_images, rates.num_scored) == (7, 7)


def test_facts_are_those_of_the_bytes_whose_digest_is_recorded(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = deliver(plant.landing, "washers", BATCH, washers(range(300, 306)))
    whole = decoding.measure_files

    def swapped(*arguments: Any) -> Iterator[Any]:
        # between the listing and the decoding
        (folder / "ok00303.png").write_bytes(png(washer(999)))
        yield from whole(*arguments)

    monkeypatch.setattr(measure, "measure_files", swapped)
    validate_batch(plant.line, BATCH, plant.services)
    [row] = asking.odd_images(plant.services)
    assert (row.name, row.reason) == ("ok00303.png", "changed")
    with plant.services.read() as connection:
        query = sa.select(schema.images.c.brightness).where(schema.images.c.name == "ok00303.png")
        assert connection.execute(query.order_by(schema.images.c.delivery_key)).scalars().all() == [None]


def test_the_report_shows_no_picture_of_other_bytes_than_those_that_were_scored(plant: Plant) -> None:
    deliver(plant.landing, "washers", BATCH, washers(range(300, 310)) | washers([400], defect=True))
    validate_batch(plant.line, BATCH, plant.services)
    _score(plant)
    shown = publish_night(NIGHT, [plant.line], plant.services)
    before = shown.path.read_text().count("data:image/jpeg")
    (plant.landing / "washers" / BATCH / "bad00400.png").write_bytes(png(washer(999)))
    after = publish_night(NIGHT, [plant.line], plant.services).path.read_text().count("data:image/jpeg")
    assert before == 2 * shown.num_flagged > 0
    assert after == before - 2


def test_images_of_a_batch_that_was_scored_before_the_share_went_away_are_kept(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    _deliver(plant)
    monkeypatch.setattr(score, "MINIBATCHES_PER_WRITE", 1)
    version, [chunk] = plan_line(plant.line, chunk_size=512, services=plant.services)
    with monkeypatch.context() as away:
        whole = Path.read_bytes

        def read_bytes(path: Path) -> bytes:
            if path.name == "ok00319.png":
                raise OSError(5, "Input/output error")
            return whole(path)

        away.setattr(Path, "read_bytes", read_bytes)
        with pytest.raises(StorageError):
            score_slices(chunk, version, plant.services)
    done = score_slices(chunk, version, plant.services)
    assert (done.num_already_there, done.num_scored) == (16, 4)
