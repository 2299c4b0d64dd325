"""What has moved since the champion was trained: the camera, the product, the threshold, or only the defects?

Four kinds of evidence are looked at. The first that speaks gives the diagnosis, the bluntest explanation last:

1. The *latent* – the narrow middle of the autoencoder – knows the product and where it lies, and hardly sees light or
   focus. Where its mean has moved, the direction tells whether the camera did. It is held against the nuisance
   directions: those in which the same normal images move when they are shifted, rotated, enlarged or lit on purpose. If
   none of them fits, the product is another one.
2. *Facts* that have moved as a whole – light, focus, noise, colour – are the camera's as well.
3. *Scores* that have moved as a whole, while latent and facts did not, mean that the threshold is stale.
4. More high scores than the threshold promises, and nothing else: there are more defects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import Diagnosis
from cae_pipeline.statistics.evidence import (
    best_cosine,
    chance_of_latent_shift,
    find_exceedances,
    measure_latent_shift,
    scores_moved_everywhere,
)
from cae_pipeline.statistics.shifts import MIN_IMAGES, Shift, Values, compare, with_decision

MIN_LATENT_SHIFT = 0.25
"""Of the mean latent, in standard deviations, root mean square over its numbers."""
MIN_COSINE = 0.87
"""Cosine from which a shift of the latent is one that a moved camera causes."""
MIXED_SHARE = 0.1
"""Shares of flagged and of quite usual images from which a night is a mixture of both."""
TAIL_LEVEL, OTHER_LEVEL = 0.006, 0.001
"""Shares of quiet nights that may raise an alarm: high scores, which nothing else guards, and each of latent, facts and
all scores, which must also have moved far; together below 0.01."""


@dataclass(frozen=True)
class Measures:
    """What is measured of some images.

    Attributes:
        facts: Name → values of the accepted images, NaN where not measured.
        latents: Shape `(n, latent_size)`, float32.
        scores: Shape `(m,)`.
    """

    facts: Mapping[str, Values]
    latents: Floats
    scores: Values


@dataclass(frozen=True)
class Reference:
    """What is usual.

    Attributes:
        normal: Of the images the champion was trained on; scores only of those held out.
        nuisance_directions: How the mean latent moves when camera or light do, shape `(k, latent_size)`.
        threshold: Of the champion.
    """

    normal: Measures
    nuisance_directions: Floats
    threshold: float


@dataclass(frozen=True)
class DriftReport:
    """The diagnosis of one line and night, why, and all measures."""

    diagnosis: Diagnosis
    reasons: tuple[str, ...]
    shifts: tuple[Shift, ...]
    num_images: int

    @property
    def moved(self) -> tuple[str, ...]:
        """Names of the measures that have moved."""
        return tuple(shift.measure for shift in self.shifts if shift.has_moved)


_Finding: TypeAlias = tuple[Diagnosis, str] | None
"""A diagnosis with its reason; None where the evidence says nothing."""


def diagnose(reference: Reference, tonight: Measures) -> DriftReport:
    """Say what has moved in a night.

    Args:
        reference: What is usual for the champion.
        tonight: What was measured of the night's images.

    Returns:
        The diagnosis with its reasons; `none` without shifts where either side has fewer than 20 values.
    """
    fact_shifts = _compare_facts(reference.normal.facts, tonight.facts)
    score_shift = compare("score", reference.normal.scores, tonight.scores)
    moved_facts = tuple(shift.measure for shift in fact_shifts if shift.has_moved)
    shifts = (*fact_shifts, *([with_decision(score_shift, level=OTHER_LEVEL)] if score_shift else []))
    num_images = max(len(tonight.scores), *(len(values) for values in tonight.facts.values()), 0)
    nothing = "nothing has moved" if shifts else f"{num_images} images are too few to say, wanted {MIN_IMAGES}"
    diagnosis, reason = (
        _of_latents(reference, tonight) or _of_facts(moved_facts) or _of_scores(reference, tonight) or ("none", nothing)
    )
    also = (f"moved as a whole: {', '.join(moved_facts)}",) if moved_facts and diagnosis != "none" else ()
    return DriftReport(diagnosis, (reason, *also), shifts, num_images)


def _compare_facts(normal: Mapping[str, Values], tonight: Mapping[str, Values]) -> tuple[Shift, ...]:
    """Compare each fact that was measured then and now; the level is shared out over them (Bonferroni)."""
    shifts = [compare(name, normal[name], values) for name, values in tonight.items() if name in normal]
    measured = [shift for shift in shifts if shift]
    return tuple(with_decision(shift, level=OTHER_LEVEL / len(measured)) for shift in measured)


def _of_latents(reference: Reference, tonight: Measures) -> _Finding:
    """Tell a moved camera from another product by the mean latent.

    The latent has moved where its excess is at least `MIN_LATENT_SHIFT` and chance explains at most `OTHER_LEVEL` of
    such shifts. It is the camera where one of the nuisance directions fits. It is the product where none does, unless
    part of the night is as usual: then it is defects, which are for the scores to tell.
    """
    normal = reference.normal.latents
    if min(len(normal), len(tonight.latents)) < MIN_IMAGES:
        return None
    shift = measure_latent_shift(normal, tonight.latents)
    if shift.excess < MIN_LATENT_SHIFT:
        return None
    if chance_of_latent_shift(shift, normal, num_images=len(tonight.latents)) > OTHER_LEVEL:
        return None
    cosine = best_cosine(shift, reference.nuisance_directions, normal)
    told = f"the mean latent moved by {shift.excess:.2f} standard deviations"
    if cosine >= MIN_COSINE:
        return "camera", f"{told}, as it does when camera or light move (cosine {cosine:.2f})"
    if len(tonight.scores) and _is_mixed(reference, tonight):
        return None
    return "product", f"{told}, and no movement of the camera explains it (best cosine {cosine:.2f})"


def _is_mixed(reference: Reference, tonight: Measures) -> bool:
    """Tell whether a tenth of a night is as usual and a tenth is flagged: another product would show in all images.

    As usual is a score within the lower three quarters of normal scores.
    """
    as_usual = float((tonight.scores <= np.quantile(reference.normal.scores, 0.75)).mean())
    flagged = float((tonight.scores > reference.threshold).mean())
    return min(as_usual, flagged) >= MIXED_SHARE


def _of_facts(moved_facts: tuple[str, ...]) -> _Finding:
    """Facts that have moved as a whole, while the latent has not, are the camera's."""
    return ("camera", "facts of the images moved, their latent did not") if moved_facts else None


def _of_scores(reference: Reference, tonight: Measures) -> _Finding:
    """Tell a stale threshold (all scores have moved) from more defects (only some are high)."""
    normal, scores = reference.normal.scores, tonight.scores
    if min(len(normal), len(scores)) < MIN_IMAGES:
        return None
    direction = scores_moved_everywhere(normal, scores, reference.threshold, level=OTHER_LEVEL)
    if direction:
        return "threshold", f"scores {direction} everywhere, while neither the facts nor the latent moved"
    exceedances = find_exceedances(normal, scores, reference.threshold, level=TAIL_LEVEL)
    if exceedances is None:
        return None
    return "defects", (
        f"{exceedances.count} of {len(scores)} images score above {exceedances.limit:.3g}, of normal ones "
        f"{exceedances.usual_share:.1%} do; the others are as usual"
    )
