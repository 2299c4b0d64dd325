"""Figures → docs/performance.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from tests.benchmarks.performance.tables import GOALS, slowest_questions

TEMPLATE = Path(__file__).with_name("performance.md.j2")
SCORING_ROWS = (
    ("images/s, `cae score`, one core", "images_per_second_one_core"),
    ("images/s, `cae score`, two cores", "images_per_second_two_cores"),
    ("limit, one core", "limit_one_core"),
    ("limit, two cores", "limit_two_cores"),
    ("decoding, s, one core", "seconds_decode_one_core"),
    ("networks, s, one core", "seconds_forward_one_core"),
)
ASKED_ROWS = (
    ("slowest question, ms, but those bounded by a night's own images", "queries_slowest_ms"),
    ("rates of 61 nights, s", "rates_61_nights_seconds"),
    ("all images judged again by another threshold, s", "rejudge_all_seconds"),
    ("CPU time of validating an image, as a multiple of that without earlier images", "validate_cost_growth"),
)
"""What is asked of a million images; the goals stand in `tables.GOALS`."""
NUM_SLOWEST = 10
GROWTH_ROWS = (
    ("peak memory of `cae score`, MiB", "peak_bytes", 2**20),
    ("wall seconds of `cae score`", "wall_seconds", 1),
    ("results database, MiB", "database_bytes", 2**20),
)


def write_page(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the page; every figure on it is of one run of `make bench`."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # Markdown
    environment.filters |= {"number": _number, "spread": _spread, "middle": _middle}
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    rows = {"scoring_rows": SCORING_ROWS, "growth_rows": GROWTH_ROWS, "asked_rows": ASKED_ROWS, "goals": GOALS}
    slowest = {name: slowest_questions(one, NUM_SLOWEST) for name, one in figures["tables"].items()}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    path.write_text(
        template.render({**figures, **machine, **rows, "figures": figures, "slowest": slowest}) + "\n", encoding="utf-8"
    )


def _middle(samples: float | Sequence[float], unit: float) -> str:
    return _number(float(np.median(samples)) / unit)


def _spread(samples: Sequence[float]) -> str:
    return f"{_middle(samples, 1)} ({_number(min(samples))}–{_number(max(samples))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
