"""Is a drift called by its name, and a quiet night quiet?"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cae_pipeline.adapters.decoding import decode, read_for_network
from cae_pipeline.domain.facts import WATCHED_FACTS
from cae_pipeline.domain.facts import measure as measure_facts
from cae_pipeline.statistics.drift import Measures, Reference, diagnose
from cae_pipeline.steps.night.load import read_artefact
from cae_pipeline.steps.night.watch import facts_as_arrays
from tests.benchmarks.promises.cells import Cells

NUM_TRIALS, NUM_QUIET, NIGHT_SIZE = 100, 1_000, 140
DEFECT_RATE = 0.2
Grey = NDArray[np.uint8]


def _lit(gain: float) -> Callable[[Grey, np.random.Generator], Grey]:
    return lambda image, _: np.clip(image * gain, 0, 255).astype(np.uint8)


def _shifted(across: float, down: float) -> Callable[[Grey, np.random.Generator], Grey]:
    def shift(image: Grey, _: np.random.Generator) -> Grey:
        height, width = image.shape
        matrix = np.array([[1, 0, across * width], [0, 1, down * height]], np.float32)
        moved: Grey = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        return moved

    return shift


def _noisy(image: Grey, random: np.random.Generator) -> Grey:
    return np.clip(image + random.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


def _blurred(image: Grey, _: np.random.Generator) -> Grey:
    blurred: Grey = cv2.GaussianBlur(image, (0, 0), 1.5)
    return blurred


INJECTED: dict[str, tuple[str, Callable[[Grey, np.random.Generator], Grey]]] = {
    "brightness +15 %": ("camera", _lit(1.15)),
    "brightness -15 %": ("camera", _lit(0.85)),
    "blur (sigma 1.5 px)": ("camera", _blurred),
    "noise (sigma 8)": ("camera", _noisy),
    "shift right 5 %": ("camera", _shifted(0.05, 0)),
    "shift left 5 %": ("camera", _shifted(-0.05, 0)),
    "shift down 5 %": ("camera", _shifted(0, 0.05)),
    "shift up 5 %": ("camera", _shifted(0, -0.05)),
    "variant: bars across": ("product", lambda image, _: np.rot90(image).copy()),
}
"""What is done to each image of a night, and what it is to be called."""
OTHER_PRODUCT, DEFECTS = "variant: the other kind of cell", "20 % defects"


def measure(cells: Cells) -> dict[str, Any]:
    """Diagnose nights of 140 real images, drawn anew for each trial from those nobody trained on."""
    named: dict[str, Counter[str]] = {}
    quiet: Counter[str] = Counter()
    for line, other in zip(cells.lines, reversed(cells.lines), strict=True):
        reference = _reference(cells, line)
        normal, defective = (
            [decode(cells.content(image), cells.services.limits)[0] for image in cells.images(line, label=label)]
            for label in (0.0, 1.0)
        )
        others = [decode(cells.content(image), cells.services.limits)[0] for image in cells.images(other, label=0.0)]
        random = np.random.default_rng(0)
        usual = _measured(cells, line, normal)
        for kind, (_, inject) in INJECTED.items():
            pool = _measured(cells, line, [inject(image, random) for image in normal])
            named.setdefault(kind, Counter()).update(_diagnoses(reference, pool, random, NUM_TRIALS))
        pool = _measured(cells, line, others)
        named.setdefault(OTHER_PRODUCT, Counter()).update(_diagnoses(reference, pool, random, NUM_TRIALS))
        bad = _measured(cells, line, defective)
        named.setdefault(DEFECTS, Counter()).update(
            diagnose(reference, _joined(usual, bad, random)).diagnosis for _ in range(NUM_TRIALS)
        )
        quiet.update(_diagnoses(reference, usual, random, NUM_QUIET))
    wanted = {**{kind: name for kind, (name, _) in INJECTED.items()}, OTHER_PRODUCT: "product", DEFECTS: "defects"}
    return {
        "drift_named": {
            kind: {
                "called": wanted[kind],
                "share": count[wanted[kind]] / count.total(),
                "n": count.total(),
                "said": dict(count),
            }
            for kind, count in named.items()
        },
        "drift_false_alarms": 1 - quiet["none"] / quiet.total(),
        "quiet_nights": quiet.total(),
        "night_size": NIGHT_SIZE,
    }


def _reference(cells: Cells, line: str) -> Reference:
    champion = cells.champion(line)
    artefact = read_artefact(champion, cells.services)
    trained_on = [row.image for row in cells.trained_on(line)]
    normal = Measures(facts_as_arrays(trained_on), artefact.normal_latents, artefact.normal_scores)
    return Reference(normal, artefact.nuisance_directions, champion.threshold)


def _measured(cells: Cells, line: str, pictures: list[Grey]) -> Measures:
    """Measure pictures as validation and scoring would, from the bytes of a PNG."""
    scorer = cells.scorer(line)
    height_px, width_px = scorer.settings.read_px
    facts, pixels = [], []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        content = buffer.getvalue()
        facts.append(measure_facts(decode(content, cells.services.limits)[0], mode="L"))
        pixels.append(
            read_for_network(content, cells.services.limits, height_px=height_px, width_px=width_px, channels=1)
        )
    scored = scorer.score(np.stack(pixels))
    return Measures(
        {name: np.array([getattr(fact, name) for fact in facts], np.float64) for name in WATCHED_FACTS},
        scored.latents.astype("<f2").astype(np.float32),
        scored.scores,
    )


def _drawn(pool: Measures, count: int, random: np.random.Generator) -> Measures:
    chosen = random.choice(len(pool.scores), min(count, len(pool.scores)), replace=False)
    return Measures(
        {name: values[chosen] for name, values in pool.facts.items()}, pool.latents[chosen], pool.scores[chosen]
    )


def _joined(usual: Measures, bad: Measures, random: np.random.Generator) -> Measures:
    num_bad = round(DEFECT_RATE * NIGHT_SIZE)
    one, two = _drawn(usual, NIGHT_SIZE - num_bad, random), _drawn(bad, num_bad, random)
    return Measures(
        {name: np.concatenate([one.facts[name], two.facts[name]]) for name in one.facts},
        np.concatenate([one.latents, two.latents]),
        np.concatenate([one.scores, two.scores]),
    )


def _diagnoses(reference: Reference, pool: Measures, random: np.random.Generator, count: int) -> list[str]:
    return [diagnose(reference, _drawn(pool, NIGHT_SIZE, random)).diagnosis for _ in range(count)]
