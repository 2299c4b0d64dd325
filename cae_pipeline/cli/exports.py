"""Write rows as CSV, JSON or Parquet while they are read: memory does not grow with their number."""

from __future__ import annotations

import csv
import io
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from cae_pipeline.cli.json_text import as_json

if TYPE_CHECKING:
    import pyarrow

Row = Mapping[str, Any]
Kinds = Mapping[str, type]
"""Name of a column → str, int, float, bool, date or datetime; whatever else it holds is written as JSON."""

ROWS_IN_A_GROUP = 10_000
"""Rows in a row group of Parquet, which are in memory together."""


def kinds_of(row_type: type) -> dict[str, type]:
    """The columns of a row type, a dataclass, with what each holds; an empty answer has them as well.

    Example:
        >>> from dataclasses import make_dataclass
        >>> kinds_of(make_dataclass("Row", [("name", str), ("score", float | None), ("boxes", list[str])]))
        {'name': <class 'str'>, 'score': <class 'float'>, 'boxes': <class 'list'>}
    """
    return {name: _kind(hint) for name, hint in typing.get_type_hints(row_type).items()}


def _kind(hint: Any) -> type:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        [hint] = [one for one in typing.get_args(hint) if one is not type(None)]
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return str
    kind: type = origin or hint
    return str if issubclass(kind, str) else kind


def write_csv(rows: Iterable[Row], kinds: Kinds, file: TextIO) -> None:
    """Write a head and one line a row; what is not there is empty, lists are JSON."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(kinds)
    writer.writerows([_flat(row.get(name), missing="") for name in kinds] for row in rows)


def write_json(rows: Iterable[Row], kinds: Kinds, file: TextIO) -> None:
    """Write a list of objects, one after the other."""
    separator = "[\n  "
    for row in rows:
        text = as_json({name: row.get(name) for name in kinds}, indent=2)
        # no text in JSON holds a real line break
        file.write(separator + text.replace("\n", "\n  "))
        separator = ",\n  "
    file.write("[]\n" if separator.startswith("[") else "\n]\n")


def write_parquet(rows: Iterable[Row], kinds: Kinds, file: BinaryIO) -> None:
    """Write row groups whose columns have the types of `kinds`, however many rows there are, and if there is none."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([(name, _arrow(kind)) for name, kind in kinds.items()])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for group in _groups(rows, ROWS_IN_A_GROUP):
            columns = [
                pyarrow.array([_flat(row.get(name), missing=None) for row in group], type=schema.field(name).type)
                for name in kinds
            ]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def _arrow(kind: type) -> pyarrow.DataType:
    import pyarrow

    known = {
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
        date: pyarrow.date32(),
        datetime: pyarrow.timestamp("us", tz="UTC"),
    }
    return known.get(kind, pyarrow.string())


def _groups(rows: Iterable[Row], size: int) -> Iterator[Sequence[Row]]:
    remaining = iter(rows)
    while group := list(islice(remaining, size)):
        yield group


def _flat(value: object, *, missing: object) -> object:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return missing
    if isinstance(value, (dict, list, tuple)):
        return as_json(value)
    if isinstance(value, str):
        # the name of a file may hold bytes that are no letters
        return str(value).encode("utf-8", "backslashreplace").decode()
    return value


def as_text_file(file: BinaryIO) -> io.TextIOWrapper:
    """Let text be written to a binary file as UTF-8."""
    return io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
