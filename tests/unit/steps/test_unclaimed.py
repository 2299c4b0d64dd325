from __future__ import annotations

from pathlib import Path

from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.unclaimed import find_unclaimed
from tests.conftest import deliver

LINES = (Line("plates"), Line("bottle-caps"))


def test_a_folder_that_no_line_claims_is_named_with_the_line_that_may_be_meant(tmp_path: Path) -> None:
    for name in ("plates", "Plates", "bottle_caps", "xyz"):
        deliver(tmp_path, name, "2026-01-31", {"a.png": b"x"})
    found = {one.entry: one.nearest for one in find_unclaimed(tmp_path, LINES)}
    assert found == {"Plates": "plates", "bottle_caps": "bottle-caps", "xyz": ""}
    told = next(str(one) for one in find_unclaimed(tmp_path, LINES) if one.entry == "Plates")
    assert told == (
        "landing/Plates: no line has this name; expected a folder for each line: plates, bottle-caps. "
        "Is line 'plates' meant?"
    )


def test_files_that_lie_in_no_batch_are_named_in_one_sentence_for_each_place(tmp_path: Path) -> None:
    (tmp_path / "plates").mkdir()
    (tmp_path / "a.png").write_bytes(b"x")
    for number in range(12):
        (tmp_path / "plates" / f"{number}.png").write_bytes(b"x")
    assert [str(one) for one in find_unclaimed(tmp_path, LINES)] == [
        "landing/.: 1 files that are in no batch, such as a.png; expected them in landing/<line>/<batch_id>/.",
        "landing/plates/: 12 files that are in no batch, such as 0.png; expected them in landing/plates/<batch_id>/.",
    ]


def test_litter_belongs_to_nobody_and_is_not_named(tmp_path: Path) -> None:
    (tmp_path / "plates").mkdir()
    for name in ("Thumbs.db", ".DS_Store", "readme.txt", "plates/desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "System Volume Information").mkdir()
    (tmp_path / ".snapshot").mkdir()
    assert find_unclaimed(tmp_path, LINES) == ()


def test_a_landing_zone_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    assert find_unclaimed(tmp_path / "landing", LINES) == ()
