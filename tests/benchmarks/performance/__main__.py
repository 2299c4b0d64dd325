"""Measure everything and write it down."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.performance import growth, scoring, tables, training
from tests.benchmarks.performance.plant import Plant, build
from tests.benchmarks.performance.report import write_page
from tests.postgresql import find_programs

REPOSITORY = Path(__file__).resolve().parents[3]


def main() -> None:
    """Run it all, about an hour on two quiet cores."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--images", type=int, default=100_000, help="of the larger batch")
    parser.add_argument("--rows", type=int, default=1_000_000, help="images in each results database")
    parser.add_argument("--batches", type=int, default=100, help="one a night, in each results database")
    parser.add_argument("--tables-only", action="store_true", help="only ask both databases; writes no page")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "workspace" / "bench" / "performance.json")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "performance.md")
    words = parser.parse_args()
    # what is missing is told now, not after an hour
    find_programs()
    folder = Path(tempfile.mkdtemp(prefix="cae-bench-"))
    words.out.parent.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"rows": words.rows, "batches": words.batches, "rounds": scoring.ROUNDS}
    try:
        parts = measure_tables(folder, count=words.rows, num_batches=words.batches)
        if not words.tables_only:
            parts = chain(measure(folder, num_images=words.images), parts)
        for part, figure in parts:
            figures[part] = figure
            # part by part: an hour is not lost with the last of them
            words.out.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if words.tables_only:
        print(f"written to {words.out}")
        return
    figures |= headline(figures)
    words.out.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    write_page(words.page, figures)
    print(f"written to {words.out} and {words.page}")


def measure(folder: Path, *, num_images: int) -> Iterator[tuple[str, Any]]:
    """Measure training and scoring part by part; what takes long says so."""
    say("training")
    yield "training", training.measure()
    say("an installation with three lines")
    plant = build(folder / "workspace")
    for line in ("px256", "px128"):
        say(f"the throughput of {line}")
        yield line, throughput(plant, line)
    say("baselines, start and an empty night")
    yield "baselines", scoring.baselines(plant, "px128")
    yield "starts", {"wall": scoring.start_wall_seconds(plant), "cpu": scoring.start_seconds(plant)}
    yield "empty_night_cpu_seconds", scoring.empty_night(plant)
    say(f"1,000 and {num_images:,} images")
    yield "growth", grow(plant, num_images)


def measure_tables(folder: Path, *, count: int, num_batches: int) -> Iterator[tuple[str, Any]]:
    """Fill both databases and ask them everything."""
    say(f"{count:,} images in {num_batches} batches, on both databases")
    yield from tables.measure(folder, count=count, num_batches=num_batches).items()


def throughput(plant: Plant, line: str) -> dict[str, Any]:
    """Rates of scoring on one core and on two, beside their limits and the naive pipeline."""
    one, two = scoring.throughput(plant, line, cores=1), scoring.throughput(plant, line, cores=2)
    limits = {cores: scoring.limit(plant, line, cores=cores) for cores in (1, 2)}
    highest = {
        cores: [1 / (d + f) for d, f in zip(parts["decode"], parts["forward"], strict=True)]
        for cores, parts in limits.items()
    }
    naive = scoring.naive(plant, line)
    return {
        "images_per_second_one_core": one,
        "images_per_second_two_cores": two,
        "limit_one_core": highest[1],
        "limit_two_cores": highest[2],
        "seconds_decode_one_core": limits[1]["decode"],
        "seconds_forward_one_core": limits[1]["forward"],
        "naive": naive,
        "share_of_limit": middle(two) / middle(highest[2]),
        "two_core_speedup": middle(two) / middle(one),
        "speedup_over_naive": middle(two) / middle(naive["by_32"]),
    }


def grow(plant: Plant, count: int) -> dict[str, Any]:
    """What a large batch costs for each image, as a ratio to one of 1,000."""
    # a batch of each size first: the first pages of a database and of a cache are no growth
    small = [growth.night(plant, f"2026-03-{day:02}", 1_000) for day in (1, 2, 3)][1:]
    large = growth.night(plant, "2026-04-01", count)

    def ratio(of: Callable[[growth.Night], float]) -> float:
        return of(large) / middle([of(one) for one in small])

    start = middle([one.again.wall_seconds for one in small])
    return {
        "images": count,
        "memory": ratio(lambda night: night.score.peak_bytes),
        # the start of a process is paid once, not per image
        "wall_per_image": ratio(lambda night: (night.score.wall_seconds - start) / night.count),
        "cpu_per_image": ratio(lambda night: night.score.cpu_seconds / night.count),
        "database_per_image": ratio(lambda night: night.database_bytes / night.count),
        "again_seconds_per_1000": large.again.wall_seconds / count * 1_000,
        "again_seconds_1000": [one.again.wall_seconds for one in small],
        "peak_bytes": {"1000": [one.score.peak_bytes for one in small], str(count): large.score.peak_bytes},
        "wall_seconds": {"1000": [one.score.wall_seconds for one in small], str(count): large.score.wall_seconds},
        "database_bytes": {"1000": [one.database_bytes for one in small], str(count): large.database_bytes},
    }


def headline(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the performance of a version is followed by."""
    quoted, grown = figures["px256"], figures["growth"]
    return {
        "images_per_second_per_core_128": middle(figures["px128"]["images_per_second_one_core"]),
        "images_per_second_per_core_256": middle(quoted["images_per_second_one_core"]),
        "share_of_limit": quoted["share_of_limit"],
        "speedup_over_naive": quoted["speedup_over_naive"],
        "two_core_speedup": quoted["two_core_speedup"],
        "peak_memory_growth": grown["memory"],
        "cost_growth": max(grown["wall_per_image"], grown["database_per_image"]),
        "scoring_start_seconds": middle(figures["starts"]["wall"]),
    }


def middle(samples: Sequence[float]) -> float:
    """The median."""
    return float(np.median(samples))


def say(doing: str) -> None:
    """Tell what is measured now."""
    print(f"measuring {doing} …", flush=True)


if __name__ == "__main__":
    main()
