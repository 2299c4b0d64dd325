"""The manifest of a batch: the files that belong to it, with their sizes and digests."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cae_pipeline.domain.batch import Member
from cae_pipeline.domain.names import readable, shortened
from cae_pipeline.errors import CaeError

EXPECTED = '{"files": [{"name": …, "bytes": …, "sha256": …}, …]}'
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


class UnfinishedManifestError(CaeError):
    """A manifest that is no JSON: somebody may still be writing it."""


@dataclass(frozen=True)
class _Row:
    name: str
    num_bytes: int
    sha256: str


def read_manifest(path: Path, *, files: Collection[str]) -> tuple[Member, ...]:
    """Read what a manifest names.

    Digests in capitals, a byte-order mark, any of Unicode's encodings and normal forms, and the backslashes of Windows
    between folders are taken for what they mean.

    Args:
        path: The manifest.
        files: Names in the tables of the files that are there.

    Raises:
        UnfinishedManifestError: If it is no JSON.
        CaeError: If it says anything else than a manifest says; names what.
        OSError: If it cannot be read.
    """
    content = path.read_bytes()
    try:
        # finds UTF-8 and UTF-16, with and without a mark
        parsed = json.loads(content)
    except ValueError as error:
        raise UnfinishedManifestError(f"{path} is not a manifest: {error}. Expected {EXPECTED}.") from error
    try:
        rows = [_row(row) for row in parsed["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CaeError(f"{path} is not a manifest: {error!r}. Expected {EXPECTED}.") from error
    members = tuple(Member(_name(row.name, files, path), row.num_bytes, row.sha256) for row in rows)
    named: set[str] = set()
    for member in members:
        if member.name in named:
            raise CaeError(f"{path} names {member.name!r} twice; expected each file once.")
        named.add(member.name)
    return members


def _row(row: Mapping[str, object]) -> _Row:
    sha256 = str(row["sha256"]).strip().lower()
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"sha256 of {row['name']!r}: expected 64 hexadecimal digits, received {row['sha256']!r}")
    return _Row(str(row["name"]), int(str(row["bytes"])), sha256)


def _name(written: str, files: Collection[str], manifest: Path) -> str:
    """Find which file is meant; a name that is not there is taken as written, or with slashes for its backslashes."""
    spellings = [written, written.replace("\\", "/")]
    as_text = [shortened(readable(str(PurePosixPath(spelling)))) for spelling in spellings]
    for name in (as_text[0], written, as_text[1]):
        if name in files:
            return name
    path = PurePosixPath(spellings[1])
    # a manifest comes from outside: it must not name files outside its folder
    if path.is_absolute() or ".." in path.parts or not path.parts or _DRIVE.match(written):
        raise CaeError(
            f"{manifest} names {written!r}; expected names of files in its own folder, such as a.png or cam2/a.png."
        )
    return as_text[1]
