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
class HeldFile:
    """One file of a delivery as validation found it.

    Attributes:
        num_bytes: Its size, as announced if it was not there.
        sha256: Digest of its bytes, as announced if they were others; empty if it was missing.
        was_whole: Whether it was there with the bytes it should have.
    """

    num_bytes: int
    sha256: str
    was_whole: bool


@dataclass(frozen=True)
class PassedOver:
    """Something in the folder of a batch that is not taken for an image, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        """Name it with its reason."""
        return f"{self.name} ({self.reason})"


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
        passed_over: What else lies in the folder: litter, side-cars, links that lead nowhere.
    """

    line: str
    batch_id: str
    night: date
    members: tuple[Member, ...]
    manifest_sha256: str
    listed_at: datetime
    has_manifest: bool = False
    number: int = 0
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def num_ignored(self) -> int:
        """How many entries of the folder are not taken for images."""
        return len(self.passed_over)

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


NAMED_AT_MOST = 10
"""Entries that one sentence names."""


def name_some(passed_over: Sequence[PassedOver]) -> str:
    """Name the first of what is passed over, and say how many more there are.

    Example:
        >>> name_some([PassedOver("a.xml", "ignored_files")] * 12)[-32:]
        'a.xml (ignored_files) and 2 more'
    """
    named = ", ".join(map(str, passed_over[:NAMED_AT_MOST]))
    more = len(passed_over) - NAMED_AT_MOST
    return f"{named} and {more} more" if more > 0 else named


def explain_emptiness(delivery: Delivery) -> list[str]:
    """Say of a batch without images what its folder holds instead, in one sentence; nothing if it has some."""
    if delivery.members:
        return []
    if not delivery.passed_over:
        return ["its folder is empty, expected images"]
    told = f"{delivery.num_ignored} entries are passed over: {name_some(delivery.passed_over)}"
    return [f"its folder holds no images, {told}"]


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
