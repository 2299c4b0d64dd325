"""The tests that drift is told by. Each says its hypothesis, its statistic and its level.

Values are compared with those of normal images by order statistics. Of m new scores from the distribution of n old
ones, the number that exceed the k-th highest old one follows a beta-binomial distribution, whatever the distribution
of the scores is.

Source:
    Wilks, "Statistical prediction with special reference to the problem of tolerance limits", 1942.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from cae_pipeline.domain.images import Floats
from cae_pipeline.statistics.shifts import Values

NUM_RESAMPLES = 400
MIN_MISSING_SHARE = 0.5
"""How much of the lower (or upper) quarter of scores must be missing before all of them are taken to have moved."""
GLARING, MANY_GLARING = 2.0, 0.05
"""Times the threshold from which an image is not just a little higher, and the share of such images from which scores
have not moved everywhere but there are many defects."""


@dataclass(frozen=True)
class LatentShift:
    """How far the mean latent has moved.

    Attributes:
        direction: In standard deviations of each number of the latent, shape `(latent_size,)`.
        size: Root mean square of `direction`.
        excess: `size` less what so many images move by chance, ≥ 0.
    """

    direction: Floats
    size: float
    excess: float


@dataclass(frozen=True)
class Exceedances:
    """More high scores than normal images explain.

    Attributes:
        count: How many of tonight's images score above `limit`.
        limit: One of the highest scores of normal images, or the highest one below the threshold.
        usual_share: Share of normal images that is expected above it.
    """

    count: int
    limit: float
    usual_share: float


def measure_latent_shift(normal: Floats, tonight: Floats) -> LatentShift:
    """Measure how far the mean latent has moved.

    Args:
        normal: Latents of normal images, shape `(n, latent_size)`, float32.
        tonight: Latents of tonight's images, shape `(m, latent_size)`, float32.
    """
    direction = (tonight.mean(axis=0) - normal.mean(axis=0)) / _spread(normal)
    size = float(np.sqrt(np.mean(direction**2)))
    excess = float(np.sqrt(max(size**2 - 1 / len(tonight) - 1 / len(normal), 0.0)))
    return LatentShift(direction, size, excess)


def chance_of_latent_shift(shift: LatentShift, normal: Floats, *, num_images: int) -> float:
    """Test whether chance explains a shift of the mean latent.

    Hypothesis: tonight's images are a sample of the normal ones. Statistic: the size of the shift. Its distribution
    comes from 400 nights that are drawn from the normal images, since the numbers of a latent are not independent.

    Args:
        shift: How the mean latent has moved.
        normal: Latents of normal images, shape `(n, latent_size)`.
        num_images: Of tonight.

    Returns:
        Share of the drawn nights whose mean latent moves at least as far.
    """
    scaled, random = normal / _spread(normal), np.random.default_rng(0)

    def mean_of_draw(number: int) -> Floats:
        mean: Floats = scaled[random.integers(len(scaled), size=number)].mean(axis=0)
        return mean

    sizes = [
        np.sqrt(np.mean((mean_of_draw(num_images) - mean_of_draw(len(scaled))) ** 2)) for _ in range(NUM_RESAMPLES)
    ]
    return float(np.mean(np.array(sizes) >= shift.size))


def best_cosine(shift: LatentShift, nuisance_directions: Floats, normal: Floats) -> float:
    """Say how well a shift of the latent is explained by a camera or a light that has moved.

    Args:
        shift: How the mean latent has moved.
        nuisance_directions: How it moves when camera or light do, shape `(k, latent_size)`.
        normal: Latents of normal images, which give the standard deviations.

    Returns:
        Cosine between the shift and the direction nearest to it, in [-1, 1]; 0 without any direction.
    """
    if not len(nuisance_directions):
        return 0.0
    scaled = nuisance_directions / _spread(normal)
    lengths = np.linalg.norm(scaled, axis=1) * np.linalg.norm(shift.direction)
    return float((scaled @ shift.direction / np.maximum(lengths, 1e-12)).max())


def scores_moved_everywhere(
    normal: Values, tonight: Values, threshold: float, *, level: float
) -> Literal["rose", "fell"] | None:
    """Test whether all scores have moved, not only those of some images.

    Hypothesis: a quarter of tonight's images score within the lowest quarter of normal scores, and a quarter within
    the highest. Statistic: how many do; where at least half of a quarter is missing, and the chance of so few is at
    most half of the level, all scores have moved. Many glaring images speak against it: those are defects.

    Args:
        normal: Scores of held-out normal images, in any order.
        tonight: Scores of tonight's images.
        threshold: Of the champion.
        level: Share of quiet nights in which scores may be said to have risen or fallen; shared out over the two.
    """
    if float((tonight > GLARING * threshold).mean()) >= MANY_GLARING:
        return None
    ordered, quarter = np.sort(normal), len(normal) // 4
    counts: dict[Literal["rose", "fell"], int] = {
        "rose": int((tonight <= ordered[quarter - 1]).sum()),
        "fell": int((tonight > ordered[len(ordered) - quarter - 1]).sum()),
    }
    most = (1 - MIN_MISSING_SHARE) * quarter / (len(ordered) + 1)
    for direction, count in counts.items():
        chance = _chance_of_at_most(count, len(tonight), quarter, len(ordered))
        if count / len(tonight) <= most and chance <= level / 2:
            return direction
    return None


def find_exceedances(normal: Values, tonight: Values, threshold: float, *, level: float) -> Exceedances | None:
    """Test whether more images score high than normal ones do.

    Hypothesis: tonight's scores come from the distribution of the normal ones. Statistic: how many of them exceed one
    of up to four limits, over which the level is shared out (Bonferroni). The limits are the highest normal score
    below the threshold and the three highest ones of all. Of a night with many defects the test by the threshold may
    not be sure, since few normal images lie above it. One odd image among the normal ones spoils the test by the
    highest, but not that by the second or third highest.

    Args:
        normal: Scores of held-out normal images, in any order.
        tonight: Scores of tonight's images.
        threshold: Of the champion.
        level: Share of quiet nights in which the hypothesis may be dropped.

    Returns:
        The first test that drops the hypothesis, from the lowest limit up; None if none does.
    """
    ordered = np.sort(normal)
    highest = len(ordered)
    ranks = sorted({highest, highest - 1, highest - 2, int((ordered <= threshold).sum())} - {0})
    for rank in ranks:
        limit = float(ordered[rank - 1])
        count, num_above = int((tonight > limit).sum()), highest + 1 - rank
        if _chance_of_at_least(count, len(tonight), num_above, highest) <= level / len(ranks):
            return Exceedances(count, limit, num_above / (highest + 1))
    return None


def _spread(latents: Floats) -> Floats:
    """Standard deviation of each number of the latent, > 0."""
    spread: Floats = latents.std(axis=0) + 1e-6
    return spread


def _chance_of_at_least(count: int, num_new: int, num_above: int, num_old: int) -> float:
    """Chance that `count` or more new values lie above a limit.

    Args:
        count: Of the new values.
        num_new: How many new values there are.
        num_above: One more than the number of old values above the limit, which is an old value itself.
        num_old: How many old values there are.
    """
    return float(stats.betabinom.sf(count - 1, num_new, num_above, num_old + 1 - num_above))


def _chance_of_at_most(count: int, num_new: int, num_within: int, num_old: int) -> float:
    """Chance that `count` or fewer new values lie among the lowest, or highest, `num_within` of the old ones."""
    return float(stats.betabinom.cdf(count, num_new, num_within, num_old + 1 - num_within))
