"""Batches, their deliveries and members; ids from content digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
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
    """

    line: str
    batch_id: str
    night: date
    members: tuple[Member, ...]
    manifest_sha256: str
    listed_at: datetime

    @property
    def batch_key(self) -> str:
        """Name of the batch in every table, whatever it holds."""
        return _key(self.line, self.batch_id)

    @property
    def delivery_key(self) -> str:
        """Name of this delivery in every table: the same content has the same key wherever it lies."""
        return _key(self.line, self.batch_id, self.manifest_sha256)


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
