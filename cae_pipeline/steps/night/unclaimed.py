"""What lies in the landing zone and belongs to no line or batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cae_pipeline.adapters.landing import is_hidden, is_ignored
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.litter import IGNORED_FILES
from cae_pipeline.domain.names import readable


@dataclass(frozen=True)
class Unclaimed:
    """Something nobody will look at.

    Attributes:
        entry: Where it lies, below the landing zone.
        reason: Why nobody will look at it, and what was expected.
        nearest: The name of a line that may have been meant; empty if none is like it.
    """

    entry: str
    reason: str
    nearest: str = ""

    def __str__(self) -> str:
        """Say it in a sentence."""
        meant = f" Is line {self.nearest!r} meant?" if self.nearest else ""
        return f"landing/{self.entry}: {self.reason}.{meant}"


def find_unclaimed(landing: Path, lines: Sequence[Line]) -> tuple[Unclaimed, ...]:
    """Name the folders of the landing zone that no line claims, and files that lie in no batch.

    Litter is left out. What cannot be listed is said, and stops nothing.

    Args:
        landing: The landing zone.
        lines: All lines.
    """
    by_name = {line.name: line for line in lines}
    found = [*_files_outside(landing, "", IGNORED_FILES)]
    for entry in _entries(landing):
        name = readable(entry.name)
        if name in by_name:
            found += _files_outside(entry, f"{name}/", by_name[name].validation.ignored_files)
        elif _is_folder(entry) and not is_ignored(entry.name, IGNORED_FILES):
            near = get_close_matches(name.casefold(), list(by_name), n=1)
            reason = f"no line has this name; expected a folder for each line: {', '.join(by_name) or 'there is none'}"
            found.append(Unclaimed(name, reason, *near))
    return tuple(found)


def _files_outside(folder: Path, place: str, ignored: Sequence[str]) -> Iterator[Unclaimed]:
    """Name the files that lie where only folders should, in one sentence however many they are."""
    files = [one.name for one in _entries(folder) if not _is_folder(one) and not is_ignored(one.name, ignored)]
    if files:
        expected = f"landing/{place or '<line>/'}<batch_id>/"
        some = f"{len(files)} files that are in no batch, such as {readable(files[0])}"
        yield Unclaimed(place or ".", f"{some}; expected them in {expected}")


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))
    except OSError:
        # not there yet, or out of reach, which the search for batches says
        return []


def _is_folder(entry: Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
