"""Make the pictures of the documentation from procedural gear wheels: `python docs/pictures.py`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from cae_pipeline.domain.ignoring import Ignored
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import AutoencoderSettings, Line, TrainingSettings
from cae_pipeline.reporting import pictures
from cae_pipeline.steps.life.fit import FittedModel, fit_model

SIDE_PX = 96
ENLARGED = 2
"""The wheels are shown twice as large as they are drawn, so that cells of 16 px are small beside a tooth."""


def gear(seed: int, *, defect: bool = False) -> Pixels:
    """Draw a gear wheel under slightly changing light, shape `(192, 192, 1)`; a defect is a broken tooth or a dent."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX] - (SIDE_PX - 1) / 2 + random.normal(0, 0.4, 2)[:, None, None]
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    outline = 36 + 4 * np.tanh(4 * np.cos(14 * angle))
    if defect and seed % 2:
        outline -= 9 * (np.abs((angle - random.uniform(-3, 3) + np.pi) % (2 * np.pi) - np.pi) < 0.22)
    wheel = 1 / (1 + np.exp(1.5 * (radius - outline))) * (radius > 11)
    light = 165 + random.normal(0, 6) + 0.5 * columns + 12 * np.cos(radius * 0.8)
    if defect and not seed % 2:
        dent = np.hypot(rows - 22 * np.sin(seed), columns - 22 * np.cos(seed))
        light -= 70 * np.exp(-((dent / 4) ** 2))
    image = 35 + wheel * (light - 35) + random.normal(0, 3, radius.shape)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return pixels.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)[..., None]


def stamped(image: Pixels, seed: int, *, garbled: bool = False) -> Pixels:
    """Write a time into the corner of an image, as cameras do; garbled, it is noise."""
    random, copy = np.random.default_rng(seed), image.copy()
    copy[:18, :100] = 0
    time = f"{random.integers(24):02}:{random.integers(60):02}:{random.integers(60):02}"
    cv2.putText(copy, time, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
    if garbled:
        copy[2:16, 4:90] = random.integers(0, 256, (14, 86, 1))
    return copy


def fitted(normal: Pixels, ignored: Ignored | None = None) -> FittedModel:
    """Train on gear wheels."""
    line = Line(
        "gears",
        model=AutoencoderSettings(
            height_px=48, width_px=48, feature_resolution=SIDE_PX * ENLARGED // 48, latent_size=32
        ),
        training=TrainingSettings(preset="quick"),
    )
    ids = [str(number) for number in range(len(normal))]
    return fit_model(normal, ids, line, on_epoch=lambda epoch, metrics: None, ignored=ignored)


def main() -> None:
    """Train on 300 gear wheels, show three broken ones with their maps, and the same with a time that is ignored."""
    normal = np.stack([gear(seed) for seed in range(300)])
    shown = np.stack([gear(1001), gear(1003, defect=True), gear(1004, defect=True), gear(1007, defect=True)])
    draw(fitted(normal), shown, Path(__file__).parent / "images" / "anomaly-maps.png")
    mask = np.zeros(normal.shape[1:3], np.bool_)
    mask[:20, :104] = True
    normal = np.stack([stamped(image, seed) for seed, image in enumerate(normal)])
    shown = np.stack([stamped(image, seed, garbled=seed == 1) for seed, image in enumerate((shown[0], *shown[:3]))])
    draw(fitted(normal, mask), shown, Path(__file__).parent / "images" / "ignored-area.png")


def draw(model: FittedModel, shown: Pixels, target: Path) -> None:
    """Draw images above their maps."""
    scored = model.scorer.score(shown)
    figure = Figure(figsize=(9, 4.7), layout="constrained")
    axes = figure.subplots(2, len(shown))
    for column, image in enumerate(shown):
        flagged = scored.scores[column] > model.threshold.value
        multiples = scored.maps[column] / model.threshold.value
        axes[0, column].imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        axes[1, column].imshow(pictures.overlay(image, multiples, ignored=model.scorer.ignored))
        axes[0, column].set_title("flagged" if flagged else "normal", color="#c62a2f" if flagged else "#18794e")
        axes[1, column].set_title(
            f"score {scored.scores[column]:.1f}, threshold {model.threshold.value:.1f}", fontsize=9
        )
        for axis in axes[:, column]:
            axis.set_axis_off()
    figure.savefig(target, dpi=110)
    print(target)


if __name__ == "__main__":
    main()
