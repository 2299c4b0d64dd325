from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from cae_pipeline.adapters.storage import LandingZone, files_older_than, write_atomically
from cae_pipeline.domain.calendar import Calendar, find_zone
from cae_pipeline.errors import BatchNotReadyError, CaeError, NotFoundError
from tests.conftest import deliver

FILES = {"b.png": b"two", "a.png": b"one"}


def _zone(folder: Path) -> LandingZone:
    return LandingZone(folder, settling_seconds=300)


def _now() -> datetime:
    return datetime.now(UTC)


def test_a_batch_without_manifest_and_marker_is_ready_once_it_is_quiet(tmp_path: Path) -> None:
    folder = deliver(tmp_path, "cells", "2026-01-31", FILES, manifest=False)
    with pytest.raises(BatchNotReadyError, match="looked at again") as caught:
        _zone(tmp_path).list_delivery("cells", "2026-01-31", now=_now())
    assert caught.value.retryable
    batch = _zone(tmp_path).list_delivery("cells", "2026-01-31", now=_now() + timedelta(seconds=301))
    assert [member.name for member in batch.members] == ["a.png", "b.png"]
    (folder / "_SUCCESS").touch()
    assert _zone(tmp_path).list_delivery("cells", "2026-01-31", now=_now()).delivery_key == batch.delivery_key


def test_a_manifest_gives_the_batch_the_same_identity_as_its_files(tmp_path: Path) -> None:
    deliver(tmp_path / "one", "cells", "x", FILES)
    folder = deliver(tmp_path / "two", "cells", "x", FILES, manifest=False)
    (folder / "_SUCCESS").touch()
    one, two = (_zone(tmp_path / name).list_delivery("cells", "x", now=_now()) for name in ("one", "two"))
    assert one.delivery_key == two.delivery_key


@pytest.mark.parametrize(
    "manifest",
    [
        "not json",
        '{"images": []}',
        '{"files": [{"name": "../../etc/passwd", "bytes": 1, "sha256": ""}]}',
        '{"files": [{"name": "a", "bytes": 1, "sha256": ""}, {"name": "a", "bytes": 1, "sha256": ""}]}',
    ],
)
def test_a_manifest_that_cannot_be_trusted_is_refused(tmp_path: Path, manifest: str) -> None:
    folder = deliver(tmp_path, "cells", "x", FILES)
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(CaeError, match=r"manifest|without folders|twice"):
        _zone(tmp_path).list_delivery("cells", "x", now=_now())


def test_a_batch_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    deliver(tmp_path, "cells", "x", FILES)
    with pytest.raises(NotFoundError, match="Known: x"):
        _zone(tmp_path).list_delivery("cells", "y", now=_now())


@pytest.mark.parametrize(("zone", "night"), [("UTC", "2026-01-31"), ("Asia/Kolkata", "2026-02-01")])
def test_a_batch_without_a_date_is_of_the_night_on_the_plants_wall_when_it_arrived(
    tmp_path: Path, zone: str, night: str
) -> None:
    folder = deliver(tmp_path, "cells", "shift-7", FILES)
    moment = datetime(2026, 1, 31, 20, tzinfo=UTC).timestamp()
    os.utime(folder, (moment, moment))
    calendar = Calendar(find_zone(zone, where="time_zone"))
    delivery = _zone(tmp_path).list_delivery("cells", "shift-7", now=_now(), calendar=calendar)
    assert delivery.night == date.fromisoformat(night)


def test_files_that_a_wrong_clock_dates_ahead_are_not_waited_for(tmp_path: Path) -> None:
    folder = deliver(tmp_path, "cells", "shift-7", FILES, manifest=False)
    now = _now() + timedelta(minutes=6)
    ahead = (now + timedelta(days=9)).timestamp()
    for path in (*folder.iterdir(), folder):
        os.utime(path, (ahead, ahead))
    # nothing arrives after it is looked at
    assert _zone(tmp_path).list_delivery("cells", "shift-7", now=now).night == now.date()


def test_a_line_without_a_folder_has_no_batches(tmp_path: Path) -> None:
    assert _zone(tmp_path).batch_ids("cells") == ()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "map.png"
    write_atomically(target, b"first")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"second")
    assert target.read_bytes() == b"first"
    assert [path.name for path in target.parent.iterdir()] == ["map.png"]


def test_old_files_are_found_below_a_folder(tmp_path: Path) -> None:
    for name, age_days in (("old.png", 100), ("new.png", 1)):
        write_atomically(tmp_path / "maps" / name, b"")
        moment = (_now() - timedelta(days=age_days)).timestamp()
        os.utime(tmp_path / "maps" / name, (moment, moment))
    assert [path.name for path in files_older_than(tmp_path / "maps", _now() - timedelta(days=90))] == ["old.png"]
