"""The landing zone, which is only ever read, and the files the pipeline writes: maps, reports, models.

A batch is a folder `landing/<line>/<batch_id>/`. It is ready when its `manifest.json` or a
`_SUCCESS` marker is there, or when nothing in it has changed for `settling_seconds`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cae_pipeline.domain.batch import Delivery, Member, digest_members
from cae_pipeline.domain.batch_dates import batch_night
from cae_pipeline.domain.calendar import EVERY_DAY_UTC, Calendar
from cae_pipeline.errors import BatchNotReadyError, CaeError, NotFoundError, StorageError

MANIFEST, SUCCESS = "manifest.json", "_SUCCESS"


@dataclass(frozen=True)
class LandingZone:
    """Where cameras put batches.

    Attributes:
        settling_seconds: How long a batch without manifest and marker must have been quiet.
    """

    folder: Path
    settling_seconds: float

    def batch_ids(self, line: str) -> tuple[str, ...]:
        """Name the folders delivered to a line, oldest name first; a line without any has none."""
        home = self.folder / line
        if not home.is_dir():
            return ()
        return tuple(sorted(entry.name for entry in home.iterdir() if entry.is_dir() and not _is_ours(entry.name)))

    def list_delivery(self, line: str, batch_id: str, *, now: datetime, calendar: Calendar = EVERY_DAY_UTC) -> Delivery:
        """List and digest the members of one batch as it lies there now.

        With a manifest the members are those it names, with the digests it names: a file that is
        missing or has other bytes is found in validation. Else they are all files there are.

        Raises:
            NotFoundError: If there is no such folder.
            BatchNotReadyError: If files may still be arriving.
            StorageError: If the folder cannot be read just now.
        """
        self.check_ready(line, batch_id, now=now)
        folder = self.folder / line / batch_id
        with _out_of_reach(folder):
            members = _from_manifest(folder) if (folder / MANIFEST).is_file() else _from_files(folder)
        dated = batch_night(batch_id, arrived_at=self.arrived_at(line, batch_id, now=now), calendar=calendar)
        return Delivery(line, batch_id, dated.night, members, digest_members(members), listed_at=now)

    def check_ready(self, line: str, batch_id: str, *, now: datetime) -> None:
        """Make sure that a batch has arrived; see `list_delivery`."""
        folder = self.folder / line / batch_id
        if not folder.is_dir():
            raise NotFoundError("batch", f"{line}/{batch_id}", known=self.batch_ids(line))
        if (folder / MANIFEST).is_file() or (folder / SUCCESS).is_file():
            return
        # what was written tomorrow comes from a wrong clock: it is quiet, and nobody waits for its date
        quiet = abs((now - self.last_change(line, batch_id)).total_seconds())
        if quiet < self.settling_seconds:
            raise BatchNotReadyError(
                f"batch {line}/{batch_id} changed {quiet:.0f} s ago; expected a {MANIFEST}, a {SUCCESS} marker "
                f"or {self.settling_seconds:.0f} s without a change. It is looked at again next time."
            )

    def last_change(self, line: str, batch_id: str, *, every_file: bool = True) -> datetime:
        """When anything in a batch was last written.

        Args:
            line: The product line.
            batch_id: The batch.
            every_file: Look at every file. Else only at the folder, where files come and go, its manifest and marker.

        Raises:
            StorageError: If the folder cannot be read just now.
        """
        folder = self.folder / line / batch_id
        with _out_of_reach(folder):
            entries = folder.iterdir() if every_file else (folder / name for name in (MANIFEST, SUCCESS))
            moments = [entry.lstat().st_mtime for entry in (folder, *entries) if every_file or entry.exists()]
        return datetime.fromtimestamp(max(moments), UTC)

    def arrived_at(self, line: str, batch_id: str, *, now: datetime) -> datetime:
        """When files last came into a batch's folder or left it; not after `now`, whatever the share's clock says.

        Raises:
            StorageError: If the folder cannot be read just now.
        """
        folder = self.folder / line / batch_id
        with _out_of_reach(folder):
            return min(datetime.fromtimestamp(folder.stat().st_mtime, UTC), now)

    def path(self, line: str, batch_id: str, name: str) -> Path:
        """Where one member lies."""
        return self.folder / line / batch_id / name


@contextmanager
def _out_of_reach(path: Path) -> Iterator[None]:
    """Say of a fault of the disk or the share that it may pass."""
    try:
        yield
    except OSError as error:
        raise StorageError(path, error) from error


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, and make its folder."""
    # another name for every writer: two that write the same file must not mix their halves
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        try:
            temporary.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def files_older_than(folder: Path, moment: datetime) -> Iterator[Path]:
    """Find the files below a folder that were last written before a moment."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_mtime < moment.timestamp():
            yield path


def _from_manifest(folder: Path) -> tuple[Member, ...]:
    path = folder / MANIFEST
    try:
        rows: Sequence[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))["files"]
        members = tuple(Member(str(row["name"]), int(str(row["bytes"])), str(row["sha256"])) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise CaeError(
            f'{path} is not a manifest: {error!r}. Expected {{"files": [{{"name": …, "bytes": …, "sha256": …}}, …]}}.'
        ) from error
    for member in members:
        # a manifest comes from outside: it must not name files outside its folder
        if Path(member.name).name != member.name or _is_ours(member.name):
            raise CaeError(f"{path} names {member.name!r}; expected names of files beside it, without folders.")
    if len({member.name for member in members}) != len(members):
        raise CaeError(f"{path} names a file twice; expected each once.")
    return members


def _from_files(folder: Path) -> tuple[Member, ...]:
    files = sorted(entry for entry in folder.iterdir() if not _is_ours(entry.name) and entry.is_file())
    return tuple(Member(path.name, path.stat().st_size, digest_file(path)) for path in files)


def _is_ours(name: str) -> bool:
    return name.startswith(".") or name in (MANIFEST, SUCCESS)
