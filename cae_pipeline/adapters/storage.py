"""The landing zone, which is only ever read, and the files the pipeline writes: maps, reports, models.

A batch is a folder `landing/<line>/<batch_id>/` with its sub-folders. It is ready when everything that its
`manifest.json` names is there, when a `_SUCCESS` marker is, or when nothing in it has changed for `settling_seconds`.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from cae_pipeline.adapters import landing
from cae_pipeline.adapters.landed_names import names_in_tables, resolve
from cae_pipeline.adapters.landing import MANIFEST, SUCCESS, Landed, LandedFile
from cae_pipeline.adapters.manifest import UnfinishedManifestError, read_manifest
from cae_pipeline.domain.batch import Delivery, Member, PassedOver, digest_members, name_some
from cae_pipeline.domain.batch_dates import batch_night
from cae_pipeline.domain.calendar import EVERY_DAY_UTC, Calendar
from cae_pipeline.domain.litter import IGNORED_FILES
from cae_pipeline.errors import BatchNotReadyError, NotFoundError, StorageError

log = structlog.get_logger()


@dataclass(frozen=True)
class LandingZone:
    """Where cameras put batches.

    Attributes:
        settling_seconds: How long a batch must have been quiet, where nothing says that it is complete.
    """

    folder: Path
    settling_seconds: float

    def batch_ids(self, line: str) -> tuple[str, ...]:
        """Name the folders delivered to a line, oldest name first; a line without any has none."""
        home = self.folder / line
        if not home.is_dir():
            return ()
        entries = [entry for entry in home.iterdir() if not landing.is_hidden(entry.name)]
        return tuple(names_in_tables([entry.name for entry in entries if is_batch(entry)]))

    def batch_folder(self, line: str, batch_id: str) -> Path:
        """Where a batch lies, whatever bytes its folder is named with."""
        return resolve(self.folder / line, batch_id, depth=1)

    def path(self, line: str, batch_id: str, name: str) -> Path:
        """Where one member lies, whatever bytes it is named with."""
        return resolve(self.batch_folder(line, batch_id), name)

    def list_delivery(
        self,
        line: str,
        batch_id: str,
        *,
        now: datetime,
        ignored: Sequence[str] = IGNORED_FILES,
        calendar: Calendar = EVERY_DAY_UTC,
    ) -> Delivery:
        """List and digest the members of one batch as it lies there now.

        With a manifest the members are those it names, with the digests it names: a file that is
        missing or has other bytes is found in validation. Else they are all files there are.

        Args:
            line: The product line.
            batch_id: The batch.
            now: Aware and in UTC.
            ignored: Shell patterns of files that are no images.
            calendar: The line's, which says what date it is.

        Raises:
            NotFoundError: If there is no such folder.
            BatchNotReadyError: If files may still be arriving.
            CaeError: If its manifest cannot be used.
            StorageError: If the folder cannot be read just now.
        """
        landed = self.check_ready(line, batch_id, now=now, ignored=ignored)
        folder = self.batch_folder(line, batch_id)
        passed_over = [*landed.passed_over, *landed.unnamed]
        with _out_of_reach(folder):
            members = landed.announced
            if members is None:
                members = tuple(_digested(landed.files.values(), passed_over))
        dated = batch_night(batch_id, arrived_at=self.arrived_at(line, batch_id, now=now), calendar=calendar)
        if passed_over:
            log.warning(
                "files_passed_over", line=line, batch_id=batch_id, count=len(passed_over), names=name_some(passed_over)
            )
        return Delivery(
            line,
            batch_id,
            dated.night,
            members,
            digest_members(members),
            listed_at=now,
            has_manifest=landed.announced is not None,
            passed_over=tuple(passed_over),
        )

    def check_ready(self, line: str, batch_id: str, *, now: datetime, ignored: Sequence[str] = IGNORED_FILES) -> Landed:
        """Make sure that a batch has arrived, and say what lies in it; see `list_delivery`.

        A batch has arrived when it has been quiet for long enough, or earlier when it has a marker or everything that
        its manifest names is there.
        """
        landed = self.look(line, batch_id, now=now, ignored=ignored)
        # what was written tomorrow comes from a wrong clock: it is quiet, and nobody waits for its date
        quiet = abs(now.timestamp() - landed.written_at)
        # a marker is somebody's word that all has come, whatever the manifest says
        if quiet >= self.settling_seconds or (self.batch_folder(line, batch_id) / SUCCESS).is_file():
            return landed
        changed = f"batch {line}/{batch_id} changed {max(quiet, 0):.0f} s ago"
        settled = f"{self.settling_seconds:.0f} s without a change. It is looked at again next time."
        if landed.announced is None:
            raise BatchNotReadyError(f"{changed}; expected a {MANIFEST}, a {SUCCESS} marker or {settled}")
        if landed.late:
            raise BatchNotReadyError(
                f"{changed}, and {len(landed.late)} of the files that its {MANIFEST} names are not there or not whole, "
                f"such as {landed.late[0]}; expected them, or {settled}"
            )
        return landed

    def look(self, line: str, batch_id: str, *, now: datetime, ignored: Sequence[str] = IGNORED_FILES) -> Landed:
        """Say what lies in a batch, whether or not all of it has arrived.

        Raises:
            NotFoundError: If there is no such folder.
            BatchNotReadyError: If its manifest is still being written.
            CaeError: If its manifest cannot be used.
            StorageError: If the folder cannot be read just now.
        """
        folder = self.batch_folder(line, batch_id)
        if not folder.is_dir():
            raise NotFoundError("batch", f"{line}/{batch_id}", known=self.batch_ids(line))
        written_down = folder / MANIFEST
        with _out_of_reach(folder):
            landed = landing.look_into(folder, ignored=ignored)
            if not written_down.is_file():
                return landed
            try:
                announced = read_manifest(written_down, files=landed.files)
            except UnfinishedManifestError as error:
                age = now.timestamp() - landing.arrived(written_down.stat())
                if age >= self.settling_seconds:
                    raise
                raise BatchNotReadyError(
                    f"{error} It was written {max(age, 0):.0f} s ago, perhaps not to its end; it is looked at again."
                ) from error
        wanted = (
            one for one in announced if not (landing.is_hidden(one.name) or landing.is_ignored(one.name, ignored))
        )
        return replace(landed, announced=tuple(wanted))

    def may_have_changed(self, line: str, batch_id: str, since: datetime) -> bool:
        """Whether anything came to the folder of a batch or left it, or its manifest was written, after a moment.

        It looks at the folder itself alone, which costs the same for every batch.

        Raises:
            StorageError: If the folder cannot be read just now.
        """
        folder = self.batch_folder(line, batch_id)
        with _out_of_reach(folder):
            places = [folder, *(place for place in (folder / MANIFEST, folder / SUCCESS) if place.exists())]
            return max(landing.changed(place.stat()) for place in places) >= since.timestamp()

    def arrived_at(self, line: str, batch_id: str, *, now: datetime) -> datetime:
        """When files last came into a batch's folder or left it; not after `now`, whatever the share's clock says.

        Raises:
            NotFoundError: If the folder is gone, and that of its line is not.
            StorageError: If the folder cannot be read just now.
        """
        folder = self.batch_folder(line, batch_id)
        with _out_of_reach(folder):
            try:
                return min(datetime.fromtimestamp(folder.stat().st_mtime, UTC), now)
            except FileNotFoundError:
                # a share that is not there takes the folder of the line along
                if not folder.parent.is_dir():
                    raise
        raise NotFoundError("batch", f"{line}/{batch_id}", advice="It was there when its line was listed.")


def is_batch(entry: Path) -> bool:
    """Whether an entry of a line's folder is the folder of a batch.

    It may be a link to one that lies elsewhere, but not to a folder that the link itself lies in.
    """
    try:
        leads_up = entry.is_symlink() and entry.parent.resolve().is_relative_to(entry.resolve())
        return entry.is_dir() and not leads_up
    except (OSError, RuntimeError):
        # a link that leads to itself
        return False


def is_readable(path: Path) -> bool:
    """Whether a regular file lies at a place and may be read; what waits for a writer, such as a pipe, is none."""
    return path.is_file() and os.access(path, os.R_OK)


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


def _digested(files: Iterable[LandedFile], passed_over: list[PassedOver]) -> Iterator[Member]:
    """Digest files; one that is gone or may not be read is passed over and costs no other file."""
    for file in files:
        try:
            yield Member(file.name, file.num_bytes, digest_file(file.path))
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            passed_over.append(PassedOver(file.name, f"cannot be looked at: {error.strerror}"))
