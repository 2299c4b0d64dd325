"""What has moved since the champion was trained: the camera, the product, the threshold, or only the defects?

Four kinds of evidence are looked at, the bluntest explanation last:

1. The *latent* – the autoencoder's narrow middle – knows the product and where it lies, and hardly sees light or
   focus. Where its mean has moved, the direction tells whether the camera did: it is held against the directions
   in which the same normal images move when they are shifted, turned, enlarged or lit on purpose. If none of them fits,
   the product is another one.
2. *Facts* that have moved as a whole – light, focus, noise, colour – are the camera's as well.
3. *Scores* that have moved as a whole while neither did mean that the threshold is stale.
4. More high scores than the threshold promises, and nothing else: there are more defects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cae_pipeline.domain.images import Floats
from cae_pipeline.domain.line import Diagnosis

Values: TypeAlias = NDArray[np.float64]

MIN_IMAGES = 20
"""Fewer images than this say nothing about a distribution."""
MIN_FACT_SHIFT = 0.3
"""Kolmogorov-Smirnov distance from which a fact has moved as a whole: a fifth of the images cannot cause it."""
MIN_LATENT_SHIFT = 0.25
"""Of the mean latent, in standard deviations, root mean square over its numbers."""
MIN_FIT = 0.87
"""Cosine from which a movement of the latent is one that a moved camera causes."""
MIN_SCORE_SHIFT = 0.5
"""How much of the lower (or upper) quarter of scores must be missing before all of them are taken to have moved."""
MIXED = 0.1
"""Shares of flagged and of quite usual images from which a night is a mixture of both."""
GLARING, MANY_GLARING = 2.0, 0.05
"""Times the threshold from which an image is not just a little higher, and the share of such images from which scores
have not moved everywhere but there are many defects."""
TAIL_ALARMS, OTHER_ALARMS = 0.006, 0.001
"""Shares of quiet nights that may raise an alarm: high scores, which nothing else guards, and each of latent, facts and
all scores, which must also have moved far; together below 0.01."""
NUM_RESAMPLES = 400
NUM_BINS = 24


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
        nuisance_directions: How the mean latent moves when the camera does, shape `(k, latent_size)`.
        threshold: Of the champion.
    """

    normal: Measures
    nuisance_directions: Floats
    threshold: float


@dataclass(frozen=True)
class Shift:
    """How far one measure has moved.

    Attributes:
        distance: Largest difference of the two cumulative distributions, in [0, 1].
        p_value: Chance of such a distance with nothing moved.
        then: Shares of the normal images in each of 24 bins.
        now: Shares of tonight's.
        low: Lower edge of the bins.
        high: Upper edge.
    """

    measure: str
    distance: float
    p_value: float
    has_moved: bool
    then: tuple[float, ...] = ()
    now: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0


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


def diagnose(reference: Reference, tonight: Measures) -> DriftReport:
    """Say what has moved.

    Returns:
        The diagnosis `none` without shifts where either side has fewer than 20 values.

    Source:
        Two-sample Kolmogorov-Smirnov test, the rate shared out over the measures (Bonferroni); the mean latent by
        resampling; exceedances of an order statistic follow a beta-binomial distribution (Wilks, "Statistical
        prediction with special reference to the problem of tolerance limits", 1942).
    """
    normal = reference.normal
    shifts = [shift for name in tonight.facts if (shift := _shift(name, normal.facts.get(name), tonight.facts[name]))]
    shifts = [_judged(shift, OTHER_ALARMS / max(len(shifts), 1)) for shift in shifts]
    moved = tuple(shift.measure for shift in shifts if shift.has_moved)
    score = _shift("score", normal.scores, tonight.scores)
    if score:
        shifts.append(_judged(score, OTHER_ALARMS))
    count = max(len(tonight.scores), *(len(values) for values in tonight.facts.values()), 0)
    diagnosis, reason = (
        _of_latent(reference, tonight)
        or _of_facts(moved)
        or _of_scores(reference, tonight)
        or ("none", "nothing has moved" if shifts else f"{count} images are too few to say, wanted {MIN_IMAGES}")
    )
    also = (f"moved as a whole: {', '.join(moved)}",) if moved and diagnosis != "none" else ()
    return DriftReport(diagnosis, (reason, *also), tuple(shifts), count)


_Finding: TypeAlias = tuple[Diagnosis, str] | None


def _of_latent(reference: Reference, tonight: Measures) -> _Finding:
    then, now = reference.normal.latents, tonight.latents
    if min(len(then), len(now)) < MIN_IMAGES:
        return None
    spread = then.std(axis=0) + 1e-6
    moved = (now.mean(axis=0) - then.mean(axis=0)) / spread
    size = float(np.sqrt(np.mean(moved**2)))
    # less what so many images move by chance
    excess = float(np.sqrt(max(size**2 - 1 / len(now) - 1 / len(then), 0.0)))
    if excess < MIN_LATENT_SHIFT or _chance_of(size, then / spread, len(now)) > OTHER_ALARMS:
        return None
    nuisance_directions = reference.nuisance_directions / spread
    lengths = np.linalg.norm(nuisance_directions, axis=1) * np.linalg.norm(moved)
    fit = float((nuisance_directions @ moved / np.maximum(lengths, 1e-12)).max()) if len(nuisance_directions) else 0.0
    told = f"the mean latent moved by {excess:.2f} standard deviations"
    if fit >= MIN_FIT:
        return "camera", f"{told}, as it does when camera or light move (cosine {fit:.2f})"
    if len(tonight.scores) and _is_mixed(reference, tonight):
        return None
    return "product", f"{told}, and no movement of the camera explains it (best cosine {fit:.2f})"


def _is_mixed(reference: Reference, tonight: Measures) -> bool:
    """Tell whether part of a night is as usual and part is flagged: another product would show in all images."""
    as_usual = float((tonight.scores <= np.quantile(reference.normal.scores, 0.75)).mean())
    flagged = float((tonight.scores > reference.threshold).mean())
    return min(as_usual, flagged) >= MIXED


def _chance_of(size: float, latents: Floats, count: int) -> float:
    """Share of nights drawn from normal images whose mean latent moves as far; its numbers are not independent."""
    random = np.random.default_rng(0)

    def mean_of(number: int) -> Floats:
        mean: Floats = latents[random.integers(len(latents), size=number)].mean(axis=0)
        return mean

    moved = [np.sqrt(np.mean((mean_of(count) - mean_of(len(latents))) ** 2)) for _ in range(NUM_RESAMPLES)]
    return float(np.mean(np.array(moved) >= size))


def _of_facts(moved: tuple[str, ...]) -> _Finding:
    return ("camera", "facts of the images moved, their latent did not") if moved else None


def _of_scores(reference: Reference, tonight: Measures) -> _Finding:
    then, now = np.sort(reference.normal.scores), tonight.scores
    if min(len(then), len(now)) < MIN_IMAGES:
        return None
    for name, rank, below in (("rose", len(then) // 4, True), ("fell", len(then) - len(then) // 4, False)):
        # rose: who is left in what was the lower quarter; fell: in what was the upper
        left = int((now <= then[rank - 1]).sum() if below else (now > then[rank - 1]).sum())
        usual = len(then) // 4 / (len(then) + 1)
        chance = _at_most(left, len(now), len(then) // 4, len(then))
        glaring = float((now > GLARING * reference.threshold).mean())
        if left / len(now) <= (1 - MIN_SCORE_SHIFT) * usual and chance <= OTHER_ALARMS / 2 and glaring < MANY_GLARING:
            return "threshold", f"scores {name} everywhere, while neither the facts nor the latent moved"
    return _of_tail(then, now, reference.threshold)


def _of_tail(then: Values, now: Values, threshold: float) -> _Finding:
    """More images above the threshold, or above the highest normal ones, than chance explains.

    Of a night with many defects the first test may not be sure, since it rests on few normal images; one odd image
    among the normal ones spoils the second, but not that of the second or third highest.
    """
    ranks = sorted({len(then), len(then) - 1, len(then) - 2, int((then <= threshold).sum())} - {0})
    for rank in ranks:
        limit = then[rank - 1]
        above = int((now > limit).sum())
        chance = _at_least(above, len(now), len(then) + 1 - rank, len(then))
        if chance <= TAIL_ALARMS / len(ranks):
            usual = (len(then) + 1 - rank) / (len(then) + 1)
            return "defects", (
                f"{above} of {len(now)} images score above {limit:.3g}, of normal ones {usual:.1%} do; "
                "the others are as usual"
            )
    return None


def _at_least(count: int, total: int, share: int, reference: int) -> float:
    """Chance that so many of `total` new values exceed all but `share` - 1 of `reference` old ones."""
    return float(stats.betabinom.sf(count - 1, total, share, reference + 1 - share))


def _at_most(count: int, total: int, share: int, reference: int) -> float:
    return float(stats.betabinom.cdf(count, total, share, reference + 1 - share))


def _shift(name: str, then: Values | None, now: Values) -> Shift | None:
    if then is None:
        return None
    then, now = then[np.isfinite(then)], now[np.isfinite(now)]
    if min(len(then), len(now)) < MIN_IMAGES:
        return None
    test = stats.ks_2samp(then, now)
    low, high = (float(value) for value in np.quantile(np.concatenate([then, now]), [0.005, 0.995]))
    high = max(high, low + 1e-9)
    before, after = (
        tuple((np.histogram(np.clip(values, low, high), NUM_BINS, (low, high))[0] / len(values)).tolist())
        for values in (then, now)
    )
    return Shift(name, float(test.statistic), float(test.pvalue), False, before, after, low, high)


def _judged(shift: Shift, alarms: float) -> Shift:
    has_moved = shift.p_value < alarms and shift.distance >= MIN_FACT_SHIFT
    return replace(shift, has_moved=has_moved)
