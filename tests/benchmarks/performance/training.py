"""How near to the machine's own limit a training comes."""

from __future__ import annotations

import math
import time
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from cae_pipeline.detector.convolution import describe
from cae_pipeline.domain.line import AutoencoderSettings, TrainingSettings
from cae_pipeline.training.fit_autoencoder import Pairs, fit_autoencoder

NUM_IMAGES, EPOCHS, ROUNDS = 2_000, 4, 3
BACKWARD = 3.0
"""Multiplications of a training step for each of the forward pass: forward, and twice backward."""


def measure() -> dict[str, Any]:
    """Train the standard network on noise and count multiplications, beside NumPy's matrix product in turns.

    Returns:
        Images per second, GFLOP/s of the steps and of a matrix product of 1024 × 1024, and their ratio.
    """
    settings = AutoencoderSettings()
    noise = np.random.default_rng(0).random((NUM_IMAGES, settings.height_px, settings.width_px, 1)).astype(np.float16)
    pairs = Pairs(noise, noise)
    operations = 2 * BACKWARD * _multiplications(settings)
    rates, products = [], []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        fit_autoencoder(pairs, Pairs(noise[:32], noise[:32]), model=settings, training=TrainingSettings(epochs=1))
        compiling = time.perf_counter() - started
        fitted = fit_autoencoder(
            pairs, Pairs(noise[:32], noise[:32]), model=settings, training=TrainingSettings(epochs=1 + EPOCHS)
        )
        rates.append(EPOCHS * NUM_IMAGES / max(fitted.train_seconds - compiling, 1e-9))
        products.append(matrix_product())
        keras.backend.clear_session()
    return {
        "images_per_second": rates,
        "gflops": [rate * operations / 1e9 for rate in rates],
        "matrix_product_gflops": products,
        "share_of_matrix_product": [
            rate * operations / 1e9 / product for rate, product in zip(rates, products, strict=True)
        ],
    }


def matrix_product() -> float:
    """GFLOP/s of NumPy's product of two matrices of 1024 × 1024, on all cores."""
    one = np.random.default_rng(0).random((1024, 1024)).astype(np.float32)
    best = np.inf
    for _ in range(8):
        started = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - started)
    return 2 * 1024**3 / best / 1e9


def _multiplications(settings: AutoencoderSettings) -> float:
    """Of one image through the network."""
    rows = describe(settings)
    total = 0.0
    for before, row in pairwise(rows):
        kernels = row.num_parameters - row.output_shape[-1]
        # a transposed convolution multiplies at every pixel of its input, a convolution at every one of its output
        places = {"Conv2D": row.output_shape[:2], "Conv2DTranspose": before.output_shape[:2]}.get(row.kind, ())
        total += kernels * math.prod(places)
    return total
