"""Batches, their deliveries and members; ids from content digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    VALIDATED = "validated"  # its accepted images wait for an outcome
    REJECTED = "rejected"  # failed as a whole; every image is quarantined
    SCORED = "scored"  # every member is scored, quarantined or failed


@dataclass(frozen=True)
class Member:
    """One file of a batch as delivered.

    Attributes:
        name: Of the file within its batch.
        num_bytes: Size of the file.
        sha256: Digest of its bytes and the image's id; empty if the file is missing.
    """

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Delivery:
    """What a batch held when its folder was listed.

    A batch is a line and a batch_id. It may be delivered again, corrected or in part; each delivery has a listing of
    its own, and the newest one is in force.

    Attributes:
        line: The product line.
        batch_id: Folder in the landing zone.
        night: The date it counts under, in the time zone of its line.
        members: Every file that belongs to it.
        manifest_sha256: Digest of names, sizes and digests of all members.
        listed_at: When the folder was listed, aware and in UTC; what is written later belongs to a later delivery.
        has_manifest: Whether somebody has written down what belongs to it; else the files that are there do.
        number: How often the same content was validated before.
    """

    line: str
    batch_id: str
    night: date
    members: tuple[Member, ...]
    manifest_sha256: str
    listed_at: datetime
    has_manifest: bool = False
    number: int = 0

    @property
    def batch_key(self) -> str:
        """Name of the batch in every table, whatever it holds."""
        return _key(self.line, self.batch_id)

    @property
    def delivery_key(self) -> str:
        """Name of this delivery in every table: the same content has the same key until it is validated again."""
        repeated = (str(self.number),) if self.number else ()
        return _key(self.line, self.batch_id, self.manifest_sha256, *repeated)

    def completed_by(self, earlier: Sequence[Member]) -> Delivery:
        """Add what the delivery before it held and nobody has replaced: a folder that shrinks takes nothing back.

        Whoever empties a folder, or delivers some of its files anew, does not mean that the others were never there.
        A manifest says what belongs to a batch, so that it replaces all that was there before, unless it names
        nothing new.

        Args:
            earlier: The members of the delivery in force.
        """
        known = {(member.name, member.sha256) for member in earlier}
        has_news = any((member.name, member.sha256) not in known for member in self.members)
        if has_news and self.has_manifest:
            return self
        names = {member.name for member in self.members}
        members = (*self.members, *(member for member in earlier if member.name not in names))
        return replace(self, members=members, manifest_sha256=digest_members(members))


def digest_members(members: tuple[Member, ...]) -> str:
    """Digest names, sizes and digests, whatever order they were listed in.

    Example:
        >>> a, b = Member("a.png", 1, "aa"), Member("b.png", 2, "bb")
        >>> digest_members((a, b)) == digest_members((b, a))
        True
    """
    rows = sorted((member.name, member.num_bytes, member.sha256) for member in members)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
