"""Which name in the tables an entry of the landing zone has, and where an entry with such a name lies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from cae_pipeline.domain.names import MAX_LENGTH, as_on_disk, readable, shortened

MAX_DEPTH = 32
"""Folders within folders that are read."""


def resolve(folder: Path, name: str, *, depth: int = MAX_DEPTH) -> Path:
    """Where the file or folder with a name in the tables lies below a folder; where it would lie if it is gone.

    Args:
        folder: Of the batch or of the line.
        name: In the tables.
        depth: How many folders deep it is looked for if it is written in another way on disk.
    """
    as_named = folder / as_on_disk(name)
    if os.path.lexists(as_named):
        return as_named
    if os.path.lexists(folder / name):
        return folder / name
    # only such names are written in another way on disk
    if name.isascii() and len(name) < MAX_LENGTH:
        return as_named
    try:
        on_disk = _names_below(folder, depth, folder.stat().st_mtime_ns).get(name)
    except OSError:
        on_disk = None
    return folder / on_disk if on_disk else as_named


def names_in_tables(on_disk: Sequence[str]) -> list[str]:
    """Names in the tables of the entries of a folder, sorted; each is another one."""
    return sorted(each_readable(on_disk))


def each_readable(on_disk: Sequence[str]) -> dict[str, str]:
    """The name on disk of each name in the tables.

    Of two that look the same, one that is written so on disk keeps its name, and the other is spelt out in bytes.
    """
    named: dict[str, str] = {}
    for one in sorted(on_disk, key=lambda one: (readable(one) != one, one)):
        name = shortened(readable(one))
        named[shortened(readable(one, exactly=True)) if name in named else name] = one
    return named


@lru_cache(maxsize=8)
def _names_below(folder: Path, depth: int, _changed_at: int) -> dict[str, str]:
    """The entries below a folder by their names in the tables; read once, until the folder changes."""
    found = []
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        found += [str(inside / name) for name in (*folders, *files)]
        if len(inside.parts) + 1 >= depth:
            folders.clear()
    return each_readable(found)
