"""Evaluate one folder of images, here or in a process of its own.

    python -m cae_pipeline.steps.offline.evaluate_folder FOLDER SETTINGS.json

The peak of memory is that of a process, so a benchmark gives each of its evaluations a fresh one.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import structlog
from pydantic import TypeAdapter

from cae_pipeline.adapters.decoding import DecodeLimits
from cae_pipeline.concurrency.fresh_process import run_module
from cae_pipeline.domain.line import Line
from cae_pipeline.errors import CaeError, ConfigurationError, ProcessFailedError
from cae_pipeline.steps.offline.image_set import channels_of, contaminated, find_image_set
from cae_pipeline.steps.services import Progress

T = TypeVar("T")

log = structlog.get_logger()

MODULE = "cae_pipeline.steps.offline.evaluate_folder"
EXIT_REFUSED = 3


@dataclass(frozen=True)
class EvaluationSettings:
    """How folders are evaluated.

    Attributes:
        line: Network, training (with its seed) and target.
        limits: What one file may cost.
        finds_channels: Whether the images say if they have colour, instead of the line.
        ablation: Whether to judge with each error map alone and without each.
        contamination: Share of defective images that are hidden among the training images, in [0, 0.3].
        maps_to: Folder that pictures of the highest scores are written to; None is nowhere.
    """

    line: Line
    limits: DecodeLimits
    finds_channels: bool = True
    ablation: bool = False
    contamination: float = 0.0
    maps_to: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """Give every setting as JSON knows it."""
        settings: dict[str, Any] = _SETTINGS.dump_python(self, mode="json")
        return settings


_SETTINGS = TypeAdapter(EvaluationSettings)


def evaluate_folder(folder: Path, settings: EvaluationSettings, *, progress: Progress) -> dict[str, Any]:
    """Train on a folder's normal images and work out how well its defects are found.

    Args:
        folder: A set in the layout of MVTec AD.
        settings: How.
        progress: Shows what is going on.

    Returns:
        The keys of `docs/evaluation.md`, ready for JSON.

    Raises:
        ConfigurationError: If a part of the folder is missing, or an option needs defects and there are none.
        TooFewNormalImagesError: If there are too few normal images for the target.
    """
    # first: wrong words need not wait for TensorFlow
    images, line, hidden = find_image_set(folder), settings.line, tuple[Path, ...]()
    if settings.ablation and not images.has_defects:
        raise ConfigurationError(f"--ablation compares how well defects are found, and {folder} has none in test/")
    for path in images.unused_masks:
        log.warning("mask_left_out", path=str(path), problem="no image of its type has this name")
    for path in images.without_mask:
        log.warning("no_mask_found", path=str(path))
    if settings.contamination:
        images, hidden = contaminated(images, settings.contamination, seed=line.training.seed)
    if settings.finds_channels:
        line = replace(line, model=replace(line.model, channels=channels_of(images.train, settings.limits)))
    # imported where it is needed: who starts a process for it does without what training needs
    from cae_pipeline.training.quiet import import_tensorflow_quietly

    import_tensorflow_quietly()
    from cae_pipeline.steps.offline.evaluate import evaluate_set

    num_epochs = line.training.plan.epochs
    epochs = progress(range(num_epochs), total=num_epochs, doing="train")
    next(epochs, None)

    def on_epoch(_epoch: int, _metrics: object) -> None:
        next(epochs, None)

    figures = evaluate_set(images, line, settings, progress=progress, on_epoch=on_epoch)
    return {**figures, "hidden": [str(path) for path in hidden]}


def evaluate_alone(folder: Path, settings: EvaluationSettings) -> dict[str, Any]:
    """Do what `evaluate_folder` does, in a process of its own.

    Raises:
        CaeError: If it fails; says for which folder and seed, and why.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "settings.json"
        path.write_bytes(_SETTINGS.dump_json(settings))
        try:
            return run_module(MODULE, str(folder), str(path))
        except ProcessFailedError as error:
            seed = settings.line.training.seed
            raise CaeError(f"the evaluation of {folder} with seed {seed} {error.ending}") from error


def main() -> None:
    """Evaluate the folder that is named, and print the figures as one line of JSON."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    folder, settings = Path(sys.argv[1]), _SETTINGS.validate_json(Path(sys.argv[2]).read_bytes())
    try:
        figures = evaluate_folder(folder, settings, progress=_silently)
    except CaeError as error:
        print(f"cae: {error}", file=sys.stderr)
        sys.exit(EXIT_REFUSED)
    print(json.dumps(figures))


def _silently(items: Iterable[T], *, total: int, doing: str) -> Iterator[T]:  # as every `Progress`
    yield from items


if __name__ == "__main__":
    main()
