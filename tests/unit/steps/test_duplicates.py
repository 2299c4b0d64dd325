from __future__ import annotations

import numpy as np
import pytest

from cae_pipeline.steps.night.duplicates import COMPARED_NIGHTS, MAX_COMPARED, _as_words, _nearest


def _flipped(value: int, bits: list[int]) -> str:
    for bit in bits:
        value ^= 1 << bit
    return f"{value:064x}"


@pytest.mark.parametrize("where", [range(64), range(64, 128), range(192, 256), range(0, 256, 20)])
def test_the_nearest_hash_is_found_wherever_it_differs(where: range) -> None:
    random = np.random.default_rng(0)
    value = int.from_bytes(random.bytes(32))
    others = [random.bytes(32).hex() for _ in range(50)]
    bits = list(where)
    hashes = _as_words([*others, _flipped(value, bits[:9]), _flipped(value, bits[:5]), _flipped(value, bits[:5])])
    wanted = _as_words([_flipped(value, [])])[:, 0]
    assert _nearest(hashes, wanted, max_bits=10) == 51
    assert _nearest(hashes, wanted, max_bits=5) == 51
    assert _nearest(hashes, wanted, max_bits=4) is None
    assert _nearest(hashes[:, :0], wanted, max_bits=256) is None


def test_near_duplicates_are_looked_for_as_far_back_as_the_documentation_says() -> None:
    assert (COMPARED_NIGHTS.days, MAX_COMPARED) == (7, 20_000)
