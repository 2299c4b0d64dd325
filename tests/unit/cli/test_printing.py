from __future__ import annotations

import csv
import errno
import io
import json
import math
import weakref
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from cae_pipeline.cli.exports import ROWS_IN_A_GROUP, Kinds
from cae_pipeline.cli.json_text import as_json
from cae_pipeline.cli.printing import Format, print_rows
from cae_pipeline.errors import ConfigurationError

ROWS: list[dict[str, Any]] = [
    {
        "name": "one.png",
        "score": 0.123456,
        "count": 7,
        "flagged": True,
        "night": date(2026, 1, 31),
        "at": datetime(2026, 1, 31, 22, 5, tzinfo=UTC),
        "regions": [{"x_px": 1}],
        "note": None,
    },
    {
        "name": "[red]two[/red].png",
        "score": 12.0,
        "count": None,
        "flagged": False,
        "night": date(2026, 1, 31),
        "at": datetime(2026, 1, 31, 22, 6, tzinfo=UTC),
        "regions": [],
        "note": "x" * 500,
    },
]
KINDS: Kinds = {
    "name": str,
    "score": float,
    "count": int,
    "flagged": bool,
    "night": date,
    "at": datetime,
    "regions": list,
    "note": str,
}
COLUMNS = list(KINDS)


def _table(capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], columns: list[str]) -> list[str]:
    print_rows(rows, how=Format.TABLE, kinds=KINDS, columns=columns)
    return capsys.readouterr().out.splitlines()


def test_a_piped_table_is_one_line_a_row_whole_and_without_colour(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _table(capsys, ROWS, COLUMNS)
    assert len(lines) == 4
    assert lines[0].split() == COLUMNS
    assert set(lines[1]) <= {"─", " "}
    assert "x" * 500 in lines[3]
    assert "\x1b" not in "".join(lines)
    assert "[red]two[/red].png" in lines[3]
    assert [line for line in lines if line != line.rstrip()] == []


def test_cells_are_written_for_people_and_numbers_stand_on_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    head, _, one, two = _table(capsys, ROWS, ["name", "score", "count", "flagged", "at"])
    assert one.split() == ["one.png", "0.1235", "7", "yes", "2026-01-31", "22:05"]
    assert two.split() == ["[red]two[/red].png", "12", "no", "2026-01-31", "22:06"]
    right = head.index("score") + len("score")
    assert one[:right].endswith("0.1235")
    assert two[:right].endswith(" 12")
    # a missing number does not turn its column into text
    assert one[: head.index("count") + len("count")].endswith("7")
    assert one.index("yes") == head.index("flagged")


def test_a_name_from_outside_neither_breaks_a_line_nor_commands_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = _table(capsys, [{"name": "a\nb\x1b[31m\udc80"}], ["name"])
    assert lines[2:] == [r"a\nb\x1b[31m\udc80"]


def test_csv_keeps_whole_numbers_whole_and_lists_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, how=Format.CSV, kinds=KINDS)
    one, two = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(one) == COLUMNS
    assert (one["count"], two["count"], one["note"]) == ("7", "", "")
    assert json.loads(one["regions"]) == [{"x_px": 1}]
    assert one["at"] == "2026-01-31 22:05:00+00:00"


def test_parquet_keeps_types(tmp_path: Path) -> None:
    print_rows(ROWS, how=Format.PARQUET, kinds=KINDS, out=tmp_path / "rows.parquet")
    table = pd.read_parquet(tmp_path / "rows.parquet", dtype_backend="pyarrow")
    kinds = {name: str(kind) for name, kind in table.dtypes.items()}
    assert kinds["count"] == "int64[pyarrow]"
    assert kinds["score"] == "double[pyarrow]"
    assert kinds["at"] == "timestamp[us, tz=UTC][pyarrow]"
    assert table["score"].tolist() == [0.123456, 12.0]
    with pytest.raises(ConfigurationError, match="expected --out FILE"):
        print_rows(ROWS, how=Format.PARQUET, kinds=KINDS)


def test_an_empty_answer_has_the_same_columns_and_types_in_every_format(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for rows, name in ((ROWS, "full.parquet"), ([], "empty.parquet")):
        print_rows(rows, how=Format.PARQUET, kinds=KINDS, out=tmp_path / name)
    assert pq.read_schema(tmp_path / "empty.parquet").equals(pq.read_schema(tmp_path / "full.parquet"))
    head = ",".join(COLUMNS) + "\n"
    for how, expected in ((Format.CSV, head), (Format.JSON, "[]\n"), (Format.TABLE, "nothing found\n")):
        print_rows([], how=how, kinds=KINDS)
        assert capsys.readouterr().out == expected


def test_an_export_takes_rows_as_they_come_and_not_all_at_once(tmp_path: Path) -> None:
    class Row(dict[str, Any]):
        """A dict that can be watched."""

    alive: weakref.WeakSet[Row] = weakref.WeakSet()
    most = 0

    def rows() -> Iterator[Row]:
        nonlocal most
        for number in range(3 * ROWS_IN_A_GROUP):
            row = Row(name=f"{number}.png", score=0.5)
            alive.add(row)
            most = max(most, len(alive))
            yield row

    Row.__hash__ = object.__hash__  # type: ignore[assignment]
    for how in (Format.CSV, Format.JSON, Format.PARQUET):
        print_rows(rows(), how=how, kinds={"name": str, "score": float}, out=tmp_path / f"rows.{how}")
    # a group that is written, and the next that is read
    assert most <= 2 * ROWS_IN_A_GROUP
    assert pq.ParquetFile(tmp_path / "rows.parquet").num_row_groups == 3
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 3 * ROWS_IN_A_GROUP
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3 * ROWS_IN_A_GROUP + 1


def test_an_export_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"name": "one.png"}
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "rows.csv").write_text("before")
    with pytest.raises(OSError, match=r"No space left on device: .*rows\.csv"):
        print_rows(rows(), how=Format.CSV, kinds=KINDS, out=tmp_path / "rows.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert (tmp_path / "rows.csv").read_text() == "before"


def test_json_holds_no_word_that_json_does_not_know() -> None:
    value = {"score": math.nan, "limits": (math.inf, 1.5), "at": datetime(2026, 1, 31, tzinfo=UTC), "path": Path("a")}
    assert json.loads(as_json(value)) == {
        "score": None,
        "limits": [None, 1.5],
        "at": "2026-01-31 00:00:00+00:00",
        "path": "a",
    }


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    out = tmp_path / "new" / "rows.csv"
    print_rows(ROWS, how=Format.CSV, kinds=KINDS, out=out)
    assert out.read_text(encoding="utf-8").startswith("name,score")
