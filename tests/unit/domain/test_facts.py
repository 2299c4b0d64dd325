from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import cae_pipeline
from cae_pipeline.domain.facts import (
    FACT_TYPES,
    FACTS,
    WATCHED_FACTS,
    ImageFacts,
    hash_bytes,
    hash_distances,
    measure,
)
from tests.conftest import washer

PACKAGE = Path(cae_pipeline.__file__).parent


def test_a_constant_image_has_no_contrast_sharpness_or_entropy() -> None:
    facts = measure(np.full((20, 30), 128, np.uint8), mode="L")
    assert (facts.width_px, facts.height_px) == (30, 20)
    assert facts.brightness == pytest.approx(128 / 255)
    assert (facts.contrast, facts.sharpness, facts.entropy) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_new_fact_needs_one_module_and_a_migration() -> None:
    sources = [path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts]
    naming = [path.name for path in sources if re.search(r"\bentropy\b", path.read_text())]
    assert naming == ["facts.py"]


def test_every_fact_says_what_it_is_and_only_numbers_are_watched() -> None:
    assert list(FACTS) == [field.name for field in fields(ImageFacts)]
    assert all(fact.meaning for fact in FACTS.values())
    assert {FACT_TYPES[name] for name in WATCHED_FACTS} == {float}
    assert set(FACTS) - set(WATCHED_FACTS) == {
        "width_px", "height_px", "mode", "difference_hash", "bit_depth", "used_bits", "repeated_share", "texture",
        "pixel_digest",
    }  # fmt: skip
    texts = [name for name, kind in FACT_TYPES.items() if kind is str]
    assert [name for name, fact in FACTS.items() if fact.max_length] == texts


def test_what_is_measured_has_the_type_that_its_field_says() -> None:
    measured = measure(np.zeros((5, 5, 3), np.uint8), mode="RGB", bit_depth=16, used_bits=12)
    assert {name: type(getattr(measured, name)) for name in FACTS} == dict(FACT_TYPES)


def test_the_share_of_a_colour_is_that_of_all_three() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0], image[..., 2] = 30, 10
    facts = measure(image, mode="RGB")
    assert (facts.red_share, facts.blue_share) == pytest.approx((0.75, 0.25))


def test_two_equal_halves_have_one_bit_of_entropy() -> None:
    image = np.zeros((8, 8), np.uint8)
    image[:, 4:] = 200
    assert measure(image, mode="L").entropy == pytest.approx(1.0)


def test_blurring_lowers_sharpness() -> None:
    image = washer(1)
    blurred = ndimage.gaussian_filter(image, 2)
    assert measure(blurred, mode="L").sharpness < 0.3 * measure(image, mode="L").sharpness


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([(), (3,)]))
def test_any_size_can_be_measured(height: int, width: int, colours: tuple[int, ...]) -> None:
    facts = measure(np.zeros((height, width, *colours), np.uint8), mode="RGB" if colours else "L")
    assert (len(facts.difference_hash), len(facts.texture or ""), len(facts.pixel_digest or "")) == (64, 34, 16)


def test_the_digest_of_the_pixels_is_that_of_the_picture_and_its_shape() -> None:
    image = np.arange(24, dtype=np.uint8)
    one, same, other = (measure(image.reshape(shape), mode="L").pixel_digest for shape in ((4, 6), (4, 6), (6, 4)))
    assert one == same != other


def test_the_hash_of_the_same_picture_with_noise_is_near_and_that_of_another_is_far() -> None:
    random = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(random.uniform(0, 255, (128, 128)), 3)
    scene = 255 * (scene - scene.min()) / np.ptp(scene)
    noisy = np.clip(scene + random.normal(0, 2, scene.shape), 0, 255)
    hashes = [measure(image.astype(np.uint8), mode="L").difference_hash for image in (scene, noisy, scene.T)]
    distances = hash_distances(hash_bytes(hashes), hash_bytes(hashes[:1])[0])
    assert distances[0] == 0
    assert distances[1] <= 8
    assert distances[2] > 40
