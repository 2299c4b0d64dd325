"""What people should be told without asking."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from scipy import stats

UNLIKELY = 0.001
"""A rate of flagged images that is seen more seldom than this is a jump."""
MIN_JUMP = 1.5
"""Times the usual rate, below which a jump, however certain, is too small to tell."""
MIN_NIGHTS = 3
"""Earlier nights that are needed to know what is usual."""


class AlertKind(StrEnum):
    """Why somebody is told."""

    BATCH_REJECTED = "batch_rejected"
    FLAG_RATE_JUMP = "flag_rate_jump"
    DRIFT = "drift"
    CHALLENGER_REFUSED = "challenger_refused"
    NO_BATCH = "no_batch"


@dataclass(frozen=True)
class Alert:
    """One thing to tell, once.

    Attributes:
        about: What tells two alerts of one kind, line and night apart, such as a batch_id.
    """

    kind: AlertKind
    line: str
    night: date
    about: str
    message: str

    @property
    def alert_key(self) -> str:
        """The same thing found again has the same key."""
        return hashlib.sha256(json.dumps([self.kind, self.line, str(self.night), self.about]).encode()).hexdigest()


def flag_rate_jump(tonight: tuple[int, int], before: Sequence[tuple[int, int]]) -> str | None:
    """Say whether more images were flagged than the nights before let expect; None if not.

    Args:
        tonight: Flagged images and scored images.
        before: The same of each earlier night of the same champion.

    Example:
        >>> flag_rate_jump((30, 100), [(4, 100), (6, 100), (5, 100)])
        '30 of 100 images are flagged (30.0 %), usual are 5.0 %'
        >>> flag_rate_jump((9, 100), [(4, 100), (6, 100), (5, 100)]) is None
        True
    """
    flagged, scored = tonight
    usual, total = (sum(column) for column in zip(*before, strict=True)) if before else (0, 0)
    if len(before) < MIN_NIGHTS or not scored or not total:
        return None
    # what one more night shows if the rate stays what it was, its uncertainty counted in
    chance = float(stats.betabinom.sf(flagged - 1, scored, usual + 1, total - usual + 1))
    if chance > UNLIKELY or flagged * total <= MIN_JUMP * usual * scored:
        return None
    shares = (count * 100 for count in (flagged / scored, usual / total))
    return "{} of {} images are flagged ({:.1f} %), usual are {:.1f} %".format(flagged, scored, *shares)
