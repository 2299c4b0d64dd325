"""Champion and challenger → a decision with its reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass

MIN_SYNTHETIC_AUROC = 0.6
"""A first model must beat guessing on synthetic defects by this much."""
MAX_SYNTHETIC_LOSS = 0.05
"""How much worse than the champion a challenger may be on the same synthetic defects."""


@dataclass(frozen=True)
class GateFigures:
    """What the gate looks at, for one model.

    Attributes:
        synthetic_auroc: Image AUROC of held-out normal images against the same with synthetic defects.
        threshold: Score above which an image is flagged.
        score_spread: Standard deviation of the held-out normal scores.
    """

    synthetic_auroc: float
    threshold: float
    score_spread: float


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion, and every reason that was weighed."""

    promote: bool
    reasons: tuple[str, ...]


def decide(challenger: GateFigures, champion: GateFigures | None) -> Decision:
    """Let a challenger through only if nothing speaks against it.

    Args:
        challenger: Figures of the new model.
        champion: Figures of the serving model on the same images; None if there is none.
    """
    floor = MIN_SYNTHETIC_AUROC
    if champion is not None and math.isfinite(champion.synthetic_auroc):
        floor = max(floor, champion.synthetic_auroc - MAX_SYNTHETIC_LOSS)
    finite = all(map(math.isfinite, (challenger.synthetic_auroc, challenger.threshold, challenger.score_spread)))
    checks = (
        (finite, f"figures are {'finite' if finite else 'not finite: the model is broken'}"),
        (
            challenger.synthetic_auroc >= floor,
            f"synthetic AUROC {challenger.synthetic_auroc:.3f}, wanted at least {floor:.3f}"
            + ("" if champion is None else f" (champion {champion.synthetic_auroc:.3f})"),
        ),
        (
            challenger.threshold > 0 and challenger.score_spread > 0,
            f"threshold {challenger.threshold:.4g} and score spread {challenger.score_spread:.4g}, wanted both above 0",
        ),
    )
    promote = all(passed for passed, _ in checks)
    return Decision(promote, tuple(f"{'ok' if passed else 'REFUSED'}: {text}" for passed, text in checks))
