"""Normal images → a scorer with its threshold; the path that training and evaluation share."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from cae_pipeline.defects.synthesis import with_defects
from cae_pipeline.detector.scorer import Scorer
from cae_pipeline.detector.sessions import onnx_forward
from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import Line
from cae_pipeline.statistics.conformal import Scores, Threshold, fit_threshold
from cae_pipeline.statistics.metrics import auroc
from cae_pipeline.statistics.split import Split, split_normal
from cae_pipeline.training.export import to_onnx
from cae_pipeline.training.fit_autoencoder import OnEpoch
from cae_pipeline.training.fit_detector import FittedDetector, fit_detector
from cae_pipeline.training.nuisance import measure_nuisance_directions
from cae_pipeline.training.parts import Parts

MAX_LATENTS = 500
"""Normal images whose codes are kept; more say nothing new about what is usual."""


@dataclass(frozen=True)
class FittedModel:
    """Everything one fit gives.

    Attributes:
        scorer: As it will serve: exported, run by ONNX Runtime.
        graph: The exported networks.
        synthetic_scores: Of the calibration images with one synthetic defect each, shape `(n,)`.
        synthetic_auroc: Chance that such an image scores above a normal one.
        train_seconds: Wall time of everything.
    """

    scorer: Scorer
    graph: bytes
    threshold: Threshold
    split: Split
    fit: FittedDetector
    synthetic_scores: Scores
    synthetic_auroc: float
    train_seconds: float


def fit_model(  # noqa: PLR0913  # the images, what they are called and what of them counts are three arrays
    images: Pixels,
    image_ids: Sequence[str],
    line: Line,
    *,
    on_epoch: OnEpoch,
    initial: Parts | None = None,
    settled: Mapping[str, str] | None = None,
    ignored: Ignored | None = None,
) -> FittedModel:
    """Train on one part of the normal images, learn what is usual from a second, the threshold from a third.

    Args:
        images: Normal images, shape `(n, *line.model.read_px, c)`, of the type that the settled model says.
        image_ids: Their digests.
        line: Network, training and target.
        on_epoch: Told about every epoch.
        initial: Whose weights to start from; None starts afresh.
        settled: Digests of images whose part is settled, as those are that `initial` has seen.
        ignored: Pixels of images as delivered that have no say, shape `(h, w)`; None if all have.

    Raises:
        ConfigurationError: If too little is left that is not ignored.
        TooFewNormalImagesError: If there are too few for the target.
    """
    split = split_normal(
        image_ids, line.training, target_false_alarm_rate=line.target_false_alarm_rate, settled=settled or {}
    )
    started = time.perf_counter()
    fit = fit_detector(
        images,
        split=split,
        model=line.model,
        training=line.training,
        on_epoch=on_epoch,
        initial=initial.autoencoder if initial else None,
        ignored=ignored,
    )
    graph = to_onnx(fit.parts)
    calibration = images[list(split.calibration)]
    fresh = Scorer.fresh(line.model, onnx_forward(graph), fit.profiles, ignored=ignored)
    scorer = _calibrated(fresh, images, split)
    threshold = fit_threshold(scorer.normal_scores, target_false_alarm_rate=line.target_false_alarm_rate)
    defective = with_defects(calibration, seed=line.training.seed, ignored=scorer.ignored_in_read)
    synthetic = scorer.score(defective.images).scores
    return FittedModel(
        scorer,
        graph,
        threshold,
        split,
        fit,
        synthetic,
        auroc(scorer.normal_scores, synthetic),
        time.perf_counter() - started,
    )


def _calibrated(fresh: Scorer, images: Pixels, split: Split) -> Scorer:
    """Tell a scorer what it says of normal images: of the held-out ones for scores, of more for the code."""
    held_out = fresh.score(images[list(split.calibration)])
    others = [*split.validation, *split.train][: max(MAX_LATENTS - len(split.calibration), 0)]
    latents = np.concatenate([held_out.latents, fresh.score(images[others]).latents])
    nuisance_directions = measure_nuisance_directions(fresh, images[list(split.calibration)])
    return replace(
        fresh, normal_scores=held_out.scores, normal_latents=latents, nuisance_directions=nuisance_directions
    )


def settings_as_parameters(line: Line) -> dict[str, str | int | float]:
    """Flatten a line's knobs for MLflow, as in `model.filters` and `training.seed`."""
    flat: dict[str, str | int | float] = {"target_false_alarm_rate": line.target_false_alarm_rate}
    for room in ("model", "area", "training"):
        for name, value in asdict(getattr(line, room)).items():
            flat[f"{room}.{name}"] = value if isinstance(value, str | int | float) else json.dumps(value)
    return flat
