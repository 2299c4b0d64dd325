"""Batches, their members and the states both can be in; ids from content digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from cae_pipeline.domain.facts import ImageFacts


class BatchStatus(StrEnum):
    """Where a batch stands."""

    VALIDATED = "validated"  # its accepted images wait for a score
    REJECTED = "rejected"  # failed as a whole; every image is quarantined
    SCORED = "scored"  # every member is scored, quarantined or failed


class ImageStatus(StrEnum):
    """Where one member of a batch stands."""

    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"
    FAILED = "failed"


class Reason(StrEnum):
    """Why an image is quarantined or failed."""

    MISSING = "missing"  # named in the manifest, not there
    CHANGED = "changed"  # not the bytes the manifest names
    TOO_LARGE = "too_large"  # more bytes or pixels than we decode
    NOT_AN_IMAGE = "not_an_image"  # no image format we accept
    TRUNCATED = "truncated"  # begins as an image and stops early
    UNREADABLE = "unreadable"  # an image format, broken inside
    DECODE_TIMEOUT = "decode_timeout"  # decoding took longer than allowed
    DECODER_CRASHED = "decoder_crashed"  # decoding ended its process
    MULTIPLE_FRAMES = "multiple_frames"  # an animation or several pages
    WRONG_SIZE = "wrong_size"
    WRONG_MODE = "wrong_mode"
    BLANK = "blank"  # hardly any contrast
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    BLURRED = "blurred"
    DUPLICATE = "duplicate"  # the same bytes came before
    NEAR_DUPLICATE = "near_duplicate"  # almost the same picture came before
    BATCH_REJECTED = "batch_rejected"  # nothing wrong with it but its batch
    SCORING_FAILED = "scoring_failed"  # accepted, but no finite score came out


@dataclass(frozen=True)
class Member:
    """One file of a batch as delivered.

    `sha256` is the digest of the bytes and the image's id; empty if the file is missing.
    """

    name: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Batch:
    """Images delivered together to one line.

    Attributes:
        night: The UTC date of the nightly run that is due to look at it.
        manifest_sha256: Digest of names, sizes and digests of all members.
    """

    line: str
    batch_id: str
    night: date
    members: tuple[Member, ...]
    manifest_sha256: str

    @property
    def batch_key(self) -> str:
        """Identity by content: the same delivery has the same key wherever it lies."""
        return batch_key(self.line, self.batch_id, self.manifest_sha256)


@dataclass(frozen=True)
class ImageRecord:
    """What is known of one member after validation."""

    name: str
    image_id: str
    num_bytes: int
    status: ImageStatus
    reason: Reason | None = None
    detail: str = ""
    facts: ImageFacts | None = None
    duplicate_of: str | None = None


def digest_members(members: tuple[Member, ...]) -> str:
    """Digest names, sizes and digests, whatever order they were listed in.

    Example:
        >>> a, b = Member("a.png", 1, "aa"), Member("b.png", 2, "bb")
        >>> digest_members((a, b)) == digest_members((b, a))
        True
    """
    rows = sorted((member.name, member.num_bytes, member.sha256) for member in members)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def batch_key(line: str, batch_id: str, manifest_sha256: str) -> str:
    """Return the 32 hexadecimal digits that name a delivery in every table."""
    return hashlib.sha256(json.dumps([line, batch_id, manifest_sha256]).encode()).hexdigest()[:32]
