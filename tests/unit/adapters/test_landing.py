"""What factories put into the folder of a batch, on real files."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cae_pipeline.adapters import landing, storage
from cae_pipeline.adapters.landing import LEADS_NOWHERE, SPECIAL, has_news, look_into
from cae_pipeline.adapters.storage import LandingZone, digest_file, is_readable
from cae_pipeline.domain.batch import Delivery, HeldFile
from cae_pipeline.domain.litter import IGNORED_FILES
from cae_pipeline.errors import BatchNotReadyError, CaeError, NotFoundError
from tests.conftest import deliver

FILES = {"a.png": b"one", "b.png": b"two"}
SETTLING = 300


def _now() -> datetime:
    return datetime.now(UTC)


def _later() -> datetime:
    return _now() + timedelta(seconds=SETTLING + 1)


def _zone(folder: Path) -> LandingZone:
    return LandingZone(folder, settling_seconds=SETTLING)


def _batch(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    """A batch without a manifest."""
    batch = folder / "cells" / "x"
    batch.mkdir(parents=True, exist_ok=True)
    for name, content in (FILES if files is None else files).items():
        (batch / name).parent.mkdir(parents=True, exist_ok=True)
        (batch / name).write_bytes(content)
    return batch


def _list(folder: Path, *, now: datetime | None = None) -> Delivery:
    return _zone(folder).list_delivery("cells", "x", now=now or _later())


def _names(folder: Path) -> list[str]:
    return [member.name for member in _list(folder).members]


def _passed_over(folder: Path) -> dict[str, str]:
    return {one.name: one.reason for one in _list(folder).passed_over}


def _manifest(files: dict[str, bytes]) -> dict[str, list[dict[str, object]]]:
    rows = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    return {"files": rows}


# ------------------------------------------------------------------------------------------- sub-folders


def test_sub_folders_are_read_and_the_name_says_which(tmp_path: Path) -> None:
    _batch(tmp_path, FILES | {"cam2/a.png": b"three", "cam2/front/a.png": b"four"})
    assert _names(tmp_path) == ["a.png", "b.png", "cam2/a.png", "cam2/front/a.png"]
    assert _zone(tmp_path).path("cells", "x", "cam2/front/a.png").read_bytes() == b"four"


def test_a_folder_that_links_to_itself_or_out_of_the_batch_is_passed_over_and_named(tmp_path: Path) -> None:
    batch = _batch(tmp_path)
    (batch / "again").symlink_to(batch)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").write_bytes(b"three")
    (batch / "outside").symlink_to(tmp_path / "elsewhere")
    assert _names(tmp_path) == ["a.png", "b.png"]
    assert set(_passed_over(tmp_path)) == {"again", "outside"}


def test_a_link_to_a_file_is_the_file(tmp_path: Path) -> None:
    batch = _batch(tmp_path)
    (tmp_path / "elsewhere.png").write_bytes(b"three")
    (batch / "c.png").symlink_to(tmp_path / "elsewhere.png")
    assert _names(tmp_path) == ["a.png", "b.png", "c.png"]


def test_a_batch_may_be_a_link_but_not_to_a_folder_it_lies_in(tmp_path: Path) -> None:
    _batch(tmp_path)
    (tmp_path / "share").mkdir()
    (tmp_path / "cells" / "linked").symlink_to(tmp_path / "share")
    (tmp_path / "cells" / "upwards").symlink_to(tmp_path)
    (tmp_path / "cells" / "itself").symlink_to(tmp_path / "cells" / "itself")
    assert _zone(tmp_path).batch_ids("cells") == ("linked", "x")


def test_folders_nested_without_end_are_named_and_end(tmp_path: Path) -> None:
    _batch(tmp_path, {"/".join(["d"] * 40) + "/a.png": b"one", "b.png": b"two"})
    assert _names(tmp_path) == ["b.png"]
    assert "folders deep" in next(iter(_passed_over(tmp_path).values()))


# ------------------------------------------------------------------------------------------- litter

LITTER = (
    "Thumbs.db",
    "desktop.ini",
    ".DS_Store",
    "._a.png",
    "~$list.xlsx",
    "a.png.part",
    "b.tmp",
    "a.xml",
    "a.JSON",
    "a.png:Zone.Identifier",
    "a.XMP",
)


@pytest.mark.parametrize("name", LITTER)
def test_what_other_programs_leave_is_no_image_and_is_named(tmp_path: Path, name: str) -> None:
    before = (_batch(tmp_path), _list(tmp_path).delivery_key)[1]
    _batch(tmp_path, {name: b"x"})
    delivery = _list(tmp_path)
    assert delivery.delivery_key == before
    assert [one.name for one in delivery.passed_over] == [name]
    assert delivery.num_ignored == 1


def test_litter_in_a_folder_of_its_own_is_passed_over_whole(tmp_path: Path) -> None:
    _batch(tmp_path, FILES | {"@eaDir/a.png": b"thumbnail", "__MACOSX/a.png": b"fork"})
    assert _names(tmp_path) == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["no_suffix", "image.IMA", "image.png.001", "part.raw"])
def test_a_picture_with_an_unusual_suffix_or_none_is_looked_at(tmp_path: Path, name: str) -> None:
    _batch(tmp_path, {name: b"x"})
    assert _names(tmp_path) == [name]


def test_the_knob_says_what_is_ignored(tmp_path: Path) -> None:
    _batch(tmp_path, {"a.png": b"one", "a.preview.png": b"two", "a.xml": b"three"})
    listed = _zone(tmp_path).list_delivery("cells", "x", now=_later(), ignored=("*.preview.png",))
    assert [member.name for member in listed.members] == ["a.png", "a.xml"]


def test_a_batch_without_images_names_what_there_is_instead(tmp_path: Path) -> None:
    _batch(tmp_path, {"a.xml": b"x"}).joinpath("cam1").mkdir()
    assert _passed_over(tmp_path) == {"a.xml": landing.IGNORED, "cam1/": "an empty folder"}


# ------------------------------------------------------------------------------------------- manifests


def test_a_manifest_names_files_in_sub_folders_in_either_slash(tmp_path: Path) -> None:
    files = {"cam1/a.png": b"one", "cam2/a.png": b"two"}
    batch = _batch(tmp_path, files)
    plain = _list(tmp_path).delivery_key
    for slash in ("/", "\\"):
        named = _manifest({name.replace("/", slash): content for name, content in files.items()})
        (batch / "manifest.json").write_text(json.dumps(named))
        assert _names(tmp_path) == ["cam1/a.png", "cam2/a.png"]
        assert _list(tmp_path).delivery_key == plain
        assert _list(tmp_path).has_manifest


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_manifest_written_on_windows_says_the_same(tmp_path: Path, encoding: str) -> None:
    batch = _batch(tmp_path)
    plain = _list(tmp_path).delivery_key
    manifest = json.dumps(_manifest(FILES), indent=1).replace("\n", "\r\n")
    for row in _manifest(FILES)["files"]:
        manifest = manifest.replace(str(row["sha256"]), str(row["sha256"]).upper())
    (batch / "manifest.json").write_bytes(manifest.encode(encoding))
    assert _list(tmp_path).delivery_key == plain
    assert all(member.sha256 == member.sha256.lower() for member in _list(tmp_path).members)


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "cam/../../a.png", "..\\..\\a.png", "C:\\a.png", ".", ""])
def test_a_manifest_may_not_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    (_batch(tmp_path) / "manifest.json").write_text(json.dumps(_manifest({name: b"x"})))
    with pytest.raises(CaeError, match="in its own folder, such as") as caught:
        _list(tmp_path)
    assert not caught.value.retryable


def test_a_manifest_with_another_digest_says_what_was_expected(tmp_path: Path) -> None:
    rows = [{"name": "a.png", "bytes": 3, "sha256": hashlib.md5(b"one", usedforsecurity=False).hexdigest()}]
    (_batch(tmp_path) / "manifest.json").write_text(json.dumps({"files": rows}))
    with pytest.raises(CaeError, match="64 hexadecimal digits"):
        _list(tmp_path)


def test_a_file_that_the_manifest_does_not_name_is_said(tmp_path: Path) -> None:
    (_batch(tmp_path) / "manifest.json").write_text(json.dumps(_manifest({"a.png": b"one"})))
    assert _names(tmp_path) == ["a.png"]
    assert _passed_over(tmp_path) == {"b.png": "not named in manifest.json"}


def test_side_cars_that_a_manifest_names_are_no_images_either(tmp_path: Path) -> None:
    files = FILES | {"a.xml": b"<meta/>", ".DS_Store": b"x"}
    (_batch(tmp_path, files) / "manifest.json").write_text(json.dumps(_manifest(files)))
    assert _names(tmp_path) == ["a.png", "b.png"]


@pytest.mark.parametrize("there", [{}, {"a.png": b"one"}, {"a.png": b"one", "b.png": b"t"}])
def test_a_manifest_that_came_first_waits_for_its_files_and_not_for_ever(
    tmp_path: Path, there: dict[str, bytes]
) -> None:
    batch = _batch(tmp_path, there)
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES)))
    with pytest.raises(BatchNotReadyError, match=r"of the files that its manifest.json names are not there") as caught:
        _list(tmp_path, now=_now())
    assert caught.value.retryable
    # what stays away is missing, which validation finds
    assert _names(tmp_path) == ["a.png", "b.png"]
    _batch(tmp_path)
    assert [member.name for member in _list(tmp_path, now=_now()).members] == ["a.png", "b.png"]


def test_a_marker_says_that_all_has_come_whatever_the_manifest_names(tmp_path: Path) -> None:
    batch = _batch(tmp_path, {"a.png": b"one"})
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES)))
    (batch / "_SUCCESS").touch()
    assert [member.name for member in _list(tmp_path, now=_now()).members] == ["a.png", "b.png"]


def test_a_manifest_that_is_still_being_written_is_waited_for_and_then_refused(tmp_path: Path) -> None:
    whole = json.dumps(_manifest(FILES))
    (_batch(tmp_path) / "manifest.json").write_text(whole[: len(whole) // 2])
    with pytest.raises(BatchNotReadyError, match="perhaps not to its end"):
        _list(tmp_path, now=_now())
    with pytest.raises(CaeError, match="is not a manifest") as caught:
        _list(tmp_path)
    assert not caught.value.retryable


# ------------------------------------------------------------------------------------------- names


def test_a_name_of_any_bytes_finds_its_file_again(tmp_path: Path) -> None:
    names = [b"st\xfcck.png", b"a\nb.png", b"a\\b.png", "#1 100% & 'x' \"y\" ä?.png".encode()]
    batch = _batch(tmp_path, {})
    for name in names:
        (batch / os.fsdecode(name)).write_bytes(name)
    members = _list(tmp_path).members
    assert {_zone(tmp_path).path("cells", "x", member.name).read_bytes() for member in members} == set(names)
    assert r"st\xfcck.png" in {member.name for member in members}


def test_a_manifest_in_one_normal_form_finds_files_in_the_other(tmp_path: Path) -> None:
    composed = "Größe.png"
    batch = _batch(tmp_path, {unicodedata.normalize("NFD", composed): b"one"})
    (batch / "manifest.json").write_text(json.dumps(_manifest({composed: b"one"}), ensure_ascii=False))
    [member] = _list(tmp_path, now=_now()).members
    assert member.name == composed
    assert _zone(tmp_path).path("cells", "x", member.name).read_bytes() == b"one"


def test_two_files_whose_names_look_the_same_are_two(tmp_path: Path) -> None:
    name = "cam é/é.png"
    _batch(tmp_path, {unicodedata.normalize(form, name): form.encode() for form in ("NFC", "NFD")})
    members = _list(tmp_path).members
    assert len({member.name for member in members}) == 2
    contents = {_zone(tmp_path).path("cells", "x", member.name).read_bytes() for member in members}
    assert contents == {b"NFC", b"NFD"}


def test_a_name_that_is_too_long_for_the_tables_finds_its_file_again(tmp_path: Path) -> None:
    names = [f"{'d' * 200}/{'e' * 200}/{end}.png" for end in "fg"]
    _batch(tmp_path, {name: name.encode() for name in names})
    members = _list(tmp_path).members
    assert all(len(member.name) <= 255 for member in members)
    contents = [_zone(tmp_path).path("cells", "x", member.name).read_bytes().decode() for member in members]
    assert sorted(contents) == sorted(names)


def test_a_batch_folder_of_any_bytes_is_found_and_listed(tmp_path: Path) -> None:
    for folder in (b"2026-01-31 \xfc", b"2026-02-01 " + unicodedata.normalize("NFD", "é").encode()):
        path = tmp_path / "cells" / os.fsdecode(folder)
        path.mkdir(parents=True)
        (path / "a.png").write_bytes(folder)
    zone = _zone(tmp_path)
    assert zone.batch_ids("cells") == (r"2026-01-31 \xfc", "2026-02-01 é")
    for batch_id in zone.batch_ids("cells"):
        assert [member.name for member in zone.list_delivery("cells", batch_id, now=_later()).members] == ["a.png"]


# ------------------------------------------------------------------------------------------- entries that are no files


def test_links_to_nowhere_pipes_and_sockets_cost_themselves_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = _batch(tmp_path)
    (batch / "gone.png").symlink_to("/nowhere/x.png")
    (batch / "loop.png").symlink_to(batch / "loop.png")
    os.mkfifo(batch / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        # the address of a socket is short
        monkeypatch.chdir(batch)
        listener.bind("socket.png")
        assert _names(tmp_path) == ["a.png", "b.png"]
        passed_over = _passed_over(tmp_path)
    assert passed_over == {
        "gone.png": LEADS_NOWHERE, "loop.png": LEADS_NOWHERE, "pipe.png": SPECIAL, "socket.png": SPECIAL
    }  # fmt: skip


def test_a_pipe_that_a_manifest_names_is_no_readable_file(tmp_path: Path) -> None:
    batch = _batch(tmp_path)
    os.mkfifo(batch / "c.png")
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES | {"c.png": b"three"})))
    assert _names(tmp_path) == ["a.png", "b.png", "c.png"]
    assert not is_readable(batch / "c.png")
    assert is_readable(batch / "a.png")


def test_a_file_that_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = _batch(tmp_path)
    allowed = os.access
    # whoever runs the tests may be allowed everything
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "a.png" and allowed(path, mode))
    assert _names(tmp_path) == ["b.png"]
    assert "Permission denied" in _passed_over(tmp_path)["a.png"]
    assert not is_readable(batch / "a.png")


def test_a_file_that_goes_between_listing_and_digesting_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _batch(tmp_path)
    whole = storage.digest_file

    def vanishing(path: Path) -> str:
        if path.name == "a.png":
            path.unlink()
        return whole(path)

    monkeypatch.setattr(storage, "digest_file", vanishing)
    assert _names(tmp_path) == ["b.png"]


def test_a_sub_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _batch(tmp_path, FILES | {"cam2/a.png": b"three"})
    whole = os.scandir

    def refused(path: Path) -> object:
        if Path(path).name == "cam2":
            raise PermissionError(13, "Permission denied")
        return whole(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert _names(tmp_path) == ["a.png", "b.png"]
    assert "Permission denied" in _passed_over(tmp_path)["cam2"]


def test_a_batch_that_is_a_file_is_no_batch(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "x").write_text("x")
    assert _zone(tmp_path).batch_ids("cells") == ()
    with pytest.raises(NotFoundError):
        _list(tmp_path)


# ------------------------------------------------------------------------------------------- clocks


def test_a_camera_whose_clock_runs_ahead_is_not_waited_for(tmp_path: Path) -> None:
    batch = _batch(tmp_path)
    in_a_week = (_now() + timedelta(days=7)).timestamp()
    os.utime(batch / "a.png", (in_a_week, in_a_week))
    assert _names(tmp_path) == ["a.png", "b.png"]


# ------------------------------------------------------------------------------------------- news

WHOLE = {
    name: HeldFile(len(content), hashlib.sha256(content).hexdigest(), was_whole=True) for name, content in FILES.items()
}


def _has_news(folder: Path, held: dict[str, HeldFile] | None = None, *, since: float = 0) -> bool:
    landed = _zone(folder).look("cells", "x", now=_now(), ignored=IGNORED_FILES)
    return has_news(landed, WHOLE if held is None else held, since=since, digest=digest_file)


def test_what_was_touched_or_is_gone_is_no_news(tmp_path: Path) -> None:
    batch = _batch(tmp_path, FILES | {"Thumbs.db": b"x"})
    (batch / "b.png").touch()
    assert not _has_news(tmp_path)
    (batch / "a.png").unlink()
    assert not _has_news(tmp_path)
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES)))
    assert not _has_news(tmp_path)


def test_a_new_file_is_news_and_so_is_a_corrected_one(tmp_path: Path) -> None:
    _batch(tmp_path, FILES | {"c.png": b"three"})
    assert _has_news(tmp_path)
    _batch(tmp_path).joinpath("c.png").unlink()
    assert not _has_news(tmp_path)
    _batch(tmp_path, {"a.png": b"One"})
    assert _has_news(tmp_path)


def test_only_files_that_have_changed_since_are_read(tmp_path: Path) -> None:
    _batch(tmp_path)
    landed = look_into(tmp_path / "cells" / "x", ignored=IGNORED_FILES)

    def never(path: Path) -> str:
        raise AssertionError(path)

    assert not has_news(landed, WHOLE, since=_later().timestamp(), digest=never)


def test_a_file_that_was_missing_is_news_when_it_has_come(tmp_path: Path) -> None:
    batch = _batch(tmp_path, {"a.png": b"one"})
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES)))
    held = WHOLE | {"b.png": HeldFile(3, "", was_whole=False)}
    assert not _has_news(tmp_path, held)
    _batch(tmp_path)
    assert _has_news(tmp_path, held)


def test_a_file_that_was_half_there_is_news_once_it_is_whole(tmp_path: Path) -> None:
    batch = _batch(tmp_path, {"a.png": b"one", "b.png": b"t"})
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES)))
    held = WHOLE | {"b.png": HeldFile(3, WHOLE["b.png"].sha256, was_whole=False)}
    for halves in (b"tw", b"twO"):
        _batch(tmp_path, {"b.png": halves})
        assert not _has_news(tmp_path, held)
    _batch(tmp_path)
    assert _has_news(tmp_path, held)


def test_a_manifest_that_announces_other_files_is_news(tmp_path: Path) -> None:
    batch = _batch(tmp_path)
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES | {"c.png": b"three"})))
    assert _has_news(tmp_path)
    (batch / "manifest.json").write_text(json.dumps(_manifest(FILES | {"a.png": b"One"})))
    assert _has_news(tmp_path)


def test_nothing_in_the_landing_zone_is_ever_changed_by_looking(tmp_path: Path) -> None:
    folder = deliver(tmp_path, "cells", "x", FILES)
    before = {path: path.lstat()[stat.ST_MTIME] for path in folder.iterdir()}
    _list(tmp_path)
    assert {path: path.lstat()[stat.ST_MTIME] for path in folder.iterdir()} == before
