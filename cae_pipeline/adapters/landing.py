"""What lies in the folder of a batch: which files may be images, and what is passed over and why."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from pathlib import Path

from cae_pipeline.adapters.landed_names import MAX_DEPTH, each_readable
from cae_pipeline.domain.batch import HeldFile, Member, PassedOver
from cae_pipeline.domain.names import readable, shortened

MANIFEST, SUCCESS = "manifest.json", "_SUCCESS"
IS_WINDOWS = os.name == "nt"
"""There the time that is called ctime is when a file was made, and copies keep when it was written."""
IGNORED, HIDDEN = "ignored_files", "hidden"
LEADS_NOWHERE, SPECIAL, FOLDER_LINK = "a link that leads nowhere", "no regular file", "a link to a folder"


@dataclass(frozen=True)
class LandedFile:
    """One file that may be an image.

    Attributes:
        name: In the tables: its path within the batch, made readable.
        path: Where it lies.
        num_bytes: Its size.
        changed_at: When its content or its place was last changed, in seconds since 1970.
    """

    name: str
    path: Path
    num_bytes: int
    changed_at: float


@dataclass(frozen=True)
class Landed:
    """Everything that lies in the folder of a batch.

    Attributes:
        files: That may be images, by their names and in the order of these.
        passed_over: Whatever else there is.
        announced: What its manifest names; None without a manifest.
        written_at: When anything in the folder, the manifest and litter included, was last written; seconds since 1970.
        changed_at: When anything in it was last changed, moved or given other rights; seconds since 1970.
    """

    files: dict[str, LandedFile]
    passed_over: tuple[PassedOver, ...]
    written_at: float
    changed_at: float
    announced: tuple[Member, ...] | None = None

    @property
    def late(self) -> list[str]:
        """Names of announced files that are not there, or not with as many bytes as announced."""
        return [one.name for one in self.announced or () if not self._has_come(one)]

    @property
    def unnamed(self) -> list[PassedOver]:
        """Files that are there and that the manifest does not name."""
        if self.announced is None:
            return []
        named = {member.name for member in self.announced}
        return [PassedOver(name, f"not named in {MANIFEST}") for name in self.files if name not in named]

    def _has_come(self, member: Member) -> bool:
        file = self.files.get(member.name)
        return file is not None and file.num_bytes == member.num_bytes


def look_into(folder: Path, *, ignored: Sequence[str]) -> Landed:
    """List a batch with its sub-folders.

    Links to files are followed, links to folders are not: one that leads upwards would never end. Whatever cannot be
    looked at costs itself alone.

    Args:
        folder: Of the batch.
        ignored: Shell patterns of names of files and sub-folders that hold no images; capitals make no difference.

    Raises:
        OSError: If the folder itself cannot be listed.
    """
    looking = _Looking(folder, tuple(ignored))
    looking.look(folder, "")
    files = _named(sorted(looking.found))
    passed_over = tuple(sorted(looking.passed_over, key=lambda one: one.name))
    return Landed(files, passed_over, max(looking.written), max(looking.changed))


def has_news(landed: Landed, held: Mapping[str, HeldFile], *, since: float, digest: Callable[[Path], str]) -> bool:
    """Whether a folder holds anything that the delivery in force of its batch does not.

    Files that are gone, that are no images or were only touched are no news.

    Args:
        landed: What lies in the folder.
        held: The files of the delivery in force, by name.
        since: When that was listed, in seconds since 1970; only what has changed since is digested.
        digest: Gives the sha256 of a file.

    Raises:
        OSError: If a file cannot be read.
    """
    if landed.announced is None:
        return any(_is_news(file, held.get(name), since, digest) for name, file in landed.files.items())
    for member in landed.announced:
        earlier, file = held.get(member.name), landed.files.get(member.name)
        if earlier is None or (earlier.sha256 and earlier.sha256 != member.sha256):
            return True
        if file and _is_news(file, earlier, since, digest):
            return True
    return False


def _is_news(file: LandedFile, earlier: HeldFile | None, since: float, digest: Callable[[Path], str]) -> bool:
    if earlier is None or not earlier.sha256:
        return True
    if not earlier.was_whole:
        return file.num_bytes == earlier.num_bytes and digest(file.path) == earlier.sha256
    if file.num_bytes != earlier.num_bytes:
        return True
    return file.changed_at >= since and digest(file.path) != earlier.sha256


def is_ignored(name: str, ignored: Sequence[str]) -> bool:
    """Whether the name of a file, or of one of the folders it lies in, matches a pattern.

    Example:
        >>> is_ignored("cam2/THUMBS.DB", ["Thumbs.db"]), is_ignored("cam2/a.png", ["Thumbs.db"])
        (True, False)
    """
    matches = _any_of(tuple(ignored)).match
    parts = name.casefold().split("/")
    return any(matches(text) for text in {*parts, name.casefold()})


def is_hidden(name: str) -> bool:
    """Whether a name begins with a dot, or one of its folders' does."""
    return any(part.startswith(".") for part in name.split("/"))


def arrived(status: os.stat_result) -> float:
    """When a file was written; a camera whose clock runs ahead cannot have written it after it came."""
    return status.st_mtime if IS_WINDOWS else min(status.st_mtime, status.st_ctime)


def changed(status: os.stat_result) -> float:
    """When anything about a file was last changed, by the clock of the disk it lies on."""
    return status.st_mtime if IS_WINDOWS else status.st_ctime


class _Looking:
    """Goes through the folders of one batch."""

    def __init__(self, top: Path, ignored: tuple[str, ...]) -> None:
        self.ignored = ignored
        self.found: list[tuple[str, Path, os.stat_result]] = []
        self.passed_over: list[PassedOver] = []
        status = top.stat()
        self.written, self.changed = [arrived(status)], [changed(status)]

    def look(self, folder: Path, place: str) -> None:
        with os.scandir(folder) as entries:
            listed = list(entries)
        for entry in listed:
            name = place + entry.name
            if not place and entry.name in (MANIFEST, SUCCESS):
                self._seen(entry)
                continue
            try:
                self._sort_out(entry, name)
            except OSError as error:
                # gone since it was listed, or not to be looked at
                self._pass_over(name, f"cannot be looked at: {error.strerror or type(error).__name__}")

    def _sort_out(self, entry: os.DirEntry[str], name: str) -> None:
        self._seen(entry)
        if is_hidden(entry.name):
            self._pass_over(name, HIDDEN)
        elif is_ignored(name, self.ignored):
            self._pass_over(name, IGNORED)
        elif entry.is_dir(follow_symlinks=False) and name.count("/") >= MAX_DEPTH:
            self._pass_over(f"{name}/", f"more than {MAX_DEPTH} folders deep")
        elif entry.is_dir(follow_symlinks=False):
            before = len(self.found) + len(self.passed_over)
            self.look(Path(entry.path), f"{name}/")
            if len(self.found) + len(self.passed_over) == before:
                self._pass_over(f"{name}/", "an empty folder")
        elif entry.is_symlink() and not Path(entry.path).exists():
            self._pass_over(name, LEADS_NOWHERE)
        else:
            self._keep(entry, name)

    def _keep(self, entry: os.DirEntry[str], name: str) -> None:
        status = entry.stat()
        if stat.S_ISDIR(status.st_mode):
            self._pass_over(name, FOLDER_LINK)
        elif not stat.S_ISREG(status.st_mode):
            self._pass_over(name, SPECIAL)
        elif not os.access(entry.path, os.R_OK):
            self._pass_over(name, "cannot be read: Permission denied")
        else:
            self.found.append((name, Path(entry.path), status))

    def _seen(self, entry: os.DirEntry[str]) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        self.written.append(arrived(status))
        self.changed.append(changed(status))

    def _pass_over(self, name: str, reason: str) -> None:
        self.passed_over.append(PassedOver(shortened(readable(name)), reason))


def _named(found: Sequence[tuple[str, Path, os.stat_result]]) -> dict[str, LandedFile]:
    of_name = {name: (path, status) for name, path, status in found}
    files = [
        LandedFile(name, path, status.st_size, max(changed(status), arrived(status)))
        for name, on_disk in each_readable(list(of_name)).items()
        for path, status in [of_name[on_disk]]
    ]
    return {file.name: file for file in sorted(files, key=lambda file: file.name)}


@lru_cache(maxsize=64)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One expression for several shell patterns, in lower case; without any it matches nothing."""
    return re.compile("|".join(translate(pattern.casefold()) for pattern in patterns) or r"(?!)")
