"""Champion and challenger → a decision with every figure and reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from scipy import stats

from cae_pipeline.domain.line import GateSettings

MAX_SCORE_DIFFERENCE = 1e-4
"""Relative; what a model says after save, load and export may differ by from what it said when it was trained."""
MIN_EXPLAINED = 0.05
"""Share of the variance of normal images that a reconstruction must explain; a constant one explains none."""
MIN_UNDONE = 0.1
"""Share of synthetic damage that the autoencoder must undo; the identity undoes none."""
MAX_UNDONE_LOSS = 0.2
MAX_DETECTION_LOSS = 0.2
"""How much fewer of the synthetic defects than the champion a challenger may flag at its own threshold."""
UNLIKELY = 0.01
"""A rate of false alarms that a kept promise shows more seldom than this is a broken promise."""
MIN_RECENT = 20
"""Recent normal images below which their false alarms say nothing."""


class ModelState(StrEnum):
    """Where a model version stands; at most one of a line is promoted, and serves it."""

    CANDIDATE = "candidate"  # registered; the gate has not decided
    REFUSED = "refused"  # by the gate
    AWAITING = "awaiting"  # let through by the gate, a person has to agree
    DECLINED = "declined"  # by a person
    EXPIRED = "expired"  # nobody answered in time
    PROMOTED = "promoted"  # the champion
    SUPERSEDED = "superseded"  # by a later champion
    ROLLED_BACK = "rolled_back"  # a former champion serves instead


class Event(StrEnum):
    """What an entry of the ledger tells."""

    PROMOTION = "promotion"
    REFUSAL = "refusal"
    AWAITS_APPROVAL = "awaits_approval"
    ROLLBACK = "rollback"
    THRESHOLD = "threshold"


@dataclass(frozen=True)
class GateFigures:
    """What the gate looks at, for one model; all are measured on images that neither model was trained on.

    Attributes:
        synthetic_auroc: Image AUROC of held-out normal images against the same with synthetic defects.
        detected: Share of those synthetic defects above the model's own threshold.
        explained: Share of the variance of normal images that the reconstruction explains, at most 1.
        undone: Share of synthetic damage, squared, that the reconstruction undoes, at most 1.
        threshold: Score above which an image is flagged.
        held_out_flagged: Share of the held-out normal images above the threshold.
        score_spread: Standard deviation of the held-out normal scores.
        score_difference: Largest relative difference of those scores from what they were when the model was trained;
            None of a champion, which is not held against images that it was not calibrated on.
        recent_flagged: Flagged images among recent ones that nobody takes for defects.
        num_recent: How many of those there were.
        golden_auroc: Image AUROC on the golden set; None where it is too small.
        milliseconds_per_image: On one core, from pixels to score.
        peak_mib: Largest memory of a fresh process that scores.
    """

    synthetic_auroc: float
    detected: float
    explained: float
    undone: float
    threshold: float
    held_out_flagged: float
    score_spread: float
    score_difference: float | None = None
    recent_flagged: int = 0
    num_recent: int = 0
    golden_auroc: float | None = None
    milliseconds_per_image: float = 0.0
    peak_mib: float = 0.0


_NAN = math.nan
BROKEN = GateFigures(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN)
"""A model whose networks do not even give finite scores."""


@dataclass(frozen=True)
class Decision:
    """Whether the challenger may become champion, and every reason that was weighed.

    Attributes:
        reasons: One sentence per check, beginning with ok, REFUSED, or not weighed.
        figures: Of challenger and champion.
        awaits_approval: Whether a person has to agree before it serves.
    """

    promote: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    awaits_approval: bool = False


@dataclass(frozen=True)
class _Check:
    passed: bool | None  # None: there was nothing to weigh it by
    text: str

    @property
    def reason(self) -> str:
        """As the ledger keeps it."""
        word = {True: "ok", False: "REFUSED", None: "not weighed"}[self.passed]
        return f"{word}: {self.text}"


def decide(
    challenger: GateFigures, champion: GateFigures | None, limits: GateSettings, *, target_false_alarm_rate: float
) -> Decision:
    """Let a challenger through only if nothing speaks against it.

    Args:
        challenger: Figures of the new model.
        champion: Figures of the serving model on the same images; None if there is none that can be compared.
        limits: The line's margins and budgets.
        target_false_alarm_rate: What the challenger's threshold promises.
    """
    broken = [name for name, value in asdict(challenger).items() if value is not None and not math.isfinite(value)]
    finite = _Check(not broken, "all figures are finite" if not broken else f"not finite: {', '.join(broken)}")
    checks = [
        finite,
        *_absolute(challenger, limits, target_false_alarm_rate),
        *_recent(challenger, target_false_alarm_rate),
        *_against(challenger, champion, limits),
    ]
    promote = all(check.passed is not False for check in checks)
    return Decision(
        promote,
        tuple(check.reason for check in checks),
        {"challenger": as_json(challenger), "champion": as_json(champion) if champion else None},
        promote and limits.approval,
    )


def as_json(figures: GateFigures) -> dict[str, float | None]:
    """Name the figures for a JSON column; what is NaN or infinite is null there, the reasons say which it was."""
    return {name: value if value is None or math.isfinite(value) else None for name, value in asdict(figures).items()}


def _absolute(model: GateFigures, limits: GateSettings, target: float) -> Iterator[_Check]:
    """What even a first model must reach."""
    difference = math.nan if model.score_difference is None else model.score_difference
    yield _Check(
        difference <= MAX_SCORE_DIFFERENCE,
        f"scores after save, load and export differ by {difference:.1e}, at most {MAX_SCORE_DIFFERENCE:g}",
    )
    yield _Check(
        model.threshold > 0 and model.score_spread > 0,
        f"threshold {model.threshold:.4g} and score spread {model.score_spread:.4g}, wanted both above 0",
    )
    yield _at_least("variance of normal images explained", model.explained, MIN_EXPLAINED)
    yield _at_least("synthetic damage undone", model.undone, MIN_UNDONE)
    yield _at_least("synthetic AUROC", model.synthetic_auroc, limits.min_synthetic_auroc)
    yield _Check(
        model.held_out_flagged <= target + 1e-9,
        f"flags {model.held_out_flagged:.1%} of held-out normal images, promised at most {target:.1%}",
    )
    yield _at_least("share of synthetic defects flagged", model.detected, 1.5 * target)
    if model.golden_auroc is None:
        yield _Check(None, f"the golden set: there are fewer than {limits.min_golden_images} images of a kind")
    else:
        yield _at_least("AUROC on the golden set", model.golden_auroc, limits.min_golden_auroc)
    yield _at_most("milliseconds per image", model.milliseconds_per_image, limits.max_milliseconds_per_image)
    yield _at_most("MiB of memory", model.peak_mib, limits.max_memory_mib)


def _recent(model: GateFigures, target: float) -> Iterator[_Check]:
    if model.num_recent < MIN_RECENT:
        yield _Check(None, f"false alarms on {model.num_recent} recent normal images, wanted {MIN_RECENT}")
        return
    chance = float(stats.binom.sf(model.recent_flagged - 1, model.num_recent, target))
    yield _Check(
        chance >= UNLIKELY,
        f"flags {model.recent_flagged} of {model.num_recent} recent normal images, promised {target:.1%}: "
        f"so many or more by chance in {chance:.1%}, wanted at least {UNLIKELY:.0%}",
    )


def _against(challenger: GateFigures, champion: GateFigures | None, limits: GateSettings) -> Iterator[_Check]:
    if champion is None:
        return
    pairs = (
        ("synthetic AUROC", challenger.synthetic_auroc, champion.synthetic_auroc, limits.max_synthetic_loss),
        ("share of synthetic defects flagged", challenger.detected, champion.detected, MAX_DETECTION_LOSS),
        ("synthetic damage undone", challenger.undone, champion.undone, MAX_UNDONE_LOSS),
        ("AUROC on the golden set", challenger.golden_auroc, champion.golden_auroc, limits.max_golden_loss),
    )
    for name, ours, theirs, margin in pairs:
        # a broken champion is no yardstick
        if ours is not None and theirs is not None and math.isfinite(theirs):
            wanted = f"wanted at most {margin:g} less than the champion's {theirs:.3f}"
            yield _Check(ours >= theirs - margin, f"{name} {ours:.3f}, {wanted}")


def _at_least(name: str, value: float, least: float) -> _Check:
    return _Check(value >= least, f"{name} {value:.3f}, wanted at least {least:.3f}")


def _at_most(name: str, value: float, most: float) -> _Check:
    return _Check(value <= most, f"{name} {value:.0f}, wanted at most {most:.0f}")
