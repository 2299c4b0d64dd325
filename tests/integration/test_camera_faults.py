from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from scipy import ndimage

from cae_pipeline.adapters.results.schema import images
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from tests.conftest import deliver, png
from tests.parts import scratched, speckled_part, striped_part

FRESH = range(1000, 1010)


def _half(image: Pixels) -> Pixels:
    return np.where(np.arange(128)[:, None] < 64, image, 0).astype(np.uint8)


def _defocused(image: Pixels) -> Pixels:
    return np.asarray(ndimage.gaussian_filter(image, 4))


FAULTS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "too_dark": lambda image: image // 50,
    "too_bright": lambda image: np.clip(image.astype(int) + 240, 0, 255).astype(np.uint8),
    "blurred": _defocused,
    "half_frame": _half,
    "rotated": lambda image: np.ascontiguousarray(np.rot90(image)),
    "unlike_line": lambda image: speckled_part(int(image[0, 0])),
    "wrong_mode": lambda image: np.stack([image] * 3, axis=2),
}


def _validate(line: Line, services: Services, batch_id: str, files: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Deliver and validate a batch; name of each image → what is said of it."""
    free = replace(line, validation=replace(line.validation, max_quarantined_share=1.0))
    deliver(services.landing.folder, line.name, batch_id, dict(files))
    key = validate_batch(free, batch_id, services).delivery_key
    with services.read() as connection:
        rows = connection.execute(sa.select(images).where(images.c.delivery_key == key)).mappings().all()
    return {row["name"]: {one.partition(":")[0] for one in row["detail"].split("; ") if one} for row in rows}


def _files(*pictures: Pixels) -> dict[str, bytes]:
    return {f"p{number:03}.png": png(picture) for number, picture in enumerate(pictures)}


@pytest.fixture
def learnt(line: Line, services: Services) -> Line:
    """A line whose sixty normal images are validated."""
    remarks = _validate(line, services, "normal-1", _files(*(striped_part(seed) for seed in range(60))))
    assert not any(remarks.values())
    return line


def test_each_fault_of_a_camera_is_caught_by_its_name(learnt: Line, services: Services) -> None:
    for night, (name, make) in enumerate(FAULTS.items(), start=1):
        files = _files(*(make(striped_part(seed)) for seed in FRESH))
        remarks = _validate(learnt, services, f"2026-01-{night:02}", files)
        assert all(name in of_one for of_one in remarks.values()), (name, remarks)


def test_parts_of_a_healthy_camera_are_not_remarked_on_with_a_defect_or_without(
    learnt: Line, services: Services
) -> None:
    parts = [striped_part(seed) for seed in FRESH]
    remarks = _validate(learnt, services, "2026-01-01", _files(*parts, *map(scratched, parts)))
    assert set().union(*remarks.values()) <= {"near_duplicate"}
    assert not any(remarks[f"p{number:03}.png"] for number in range(len(parts)))


def test_a_camera_that_is_stuck_is_told_from_the_fifth_image_in_a_row_on(learnt: Line, services: Services) -> None:
    random = np.random.default_rng(0)

    def shot(seed: int) -> Pixels:
        part = striped_part(seed)
        return np.asarray(np.clip(part + random.normal(0, 1, part.shape), 0, 255), np.uint8)

    four, five = [shot(1) for _ in range(4)], [shot(2) for _ in range(5)]
    remarks = _validate(learnt, services, "2026-01-01", _files(striped_part(1000), *four, *five, striped_part(1001)))
    stuck = [name for name, of_one in remarks.items() if "stuck_frame" in of_one]
    assert stuck == ["p006.png", "p007.png", "p008.png", "p009.png"]


def test_a_picture_with_the_same_bytes_in_a_row_is_a_duplicate_and_stuck(learnt: Line, services: Services) -> None:
    remarks = _validate(learnt, services, "2026-01-01", _files(*[striped_part(1000)] * 6))
    assert [remarks[name] for name in sorted(remarks)] == [set(), *[{"duplicate", "stuck_frame"}] * 5]


def _shots(part: Pixels, count: int, seed: int) -> list[Pixels]:
    """Photograph one part in a fixture, each time with another noise."""
    random = np.random.default_rng(seed)
    return [np.asarray(np.clip(part + random.normal(0, 2, part.shape), 0, 255), np.uint8) for _ in range(count)]


def test_parts_in_a_fixture_are_no_twins_before_and_after_something_is_learnt(line: Line, services: Services) -> None:
    part = striped_part(1)
    first = _validate(line, services, "normal-1", _files(*_shots(part, 60, seed=1)))
    second = _validate(line, services, "2026-01-31", _files(*_shots(part, 20, seed=2), *_shots(scratched(part), 4, 3)))
    assert not any([*first.values(), *second.values()])


def test_the_same_pixels_in_another_file_are_near_duplicates_even_in_a_fixture(line: Line, services: Services) -> None:
    shots = _shots(striped_part(1), 60, seed=1)
    _validate(line, services, "normal-1", _files(*shots))
    fresh = _shots(striped_part(1), 5, seed=4)
    other_file = png(fresh[0]) + b"trailing bytes"
    remarks = _validate(line, services, "2026-01-31", {**_files(*fresh), "z.png": other_file})
    assert remarks.pop("z.png") == {"near_duplicate"}
    assert not any(remarks.values())


def test_a_stuck_camera_is_told_even_before_anything_is_learnt(line: Line, services: Services) -> None:
    different = [striped_part(seed) for seed in range(40)]
    remarks = _validate(line, services, "normal-1", _files(*different, *_shots(striped_part(99), 6, seed=1)))
    assert [name for name, of_one in remarks.items() if "stuck_frame" in of_one] == [
        f"p{number:03}.png" for number in range(41, 46)
    ]
