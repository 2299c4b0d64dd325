"""Great Expectations: holds the facts of a batch against the suite of `domain/suite.py`.

Importing this module does not load the library: that takes seconds, and only a validation needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cae_pipeline.domain.facts import FACT_TYPES, FACTS
from cae_pipeline.domain.image_settings import SENSOR_BITS
from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.domain.suite import (
    DECODED,
    FRAMES_IN_A_ROW,
    LINE_DISTANCE,
    NUM_IMAGES,
    TURN_GAIN,
    BatchExpectation,
    ImageExpectation,
    batch_expectations,
    image_expectations,
    shown,
)
from cae_pipeline.domain.validation import BatchResult, BatchValidation, FactsRow, ImageFailure, ImageResult
from cae_pipeline.errors import CaeError

if TYPE_CHECKING:
    # a second that only a validation should pay
    import pandas as pd

Expected = TypeVar("Expected", ImageExpectation, BatchExpectation)

WORKED_OUT = (LINE_DISTANCE, TURN_GAIN, FRAMES_IN_A_ROW)
COLUMNS = ("decoding", *FACTS, *WORKED_OUT, "duplicate_of", "near_duplicate_of")
"""Of the table of facts."""
MAX_TEXTS_SHOWN = 5


def validate_facts(
    rows: Sequence[FactsRow], *, suite_name: str, limits: FactLimits, settings: ValidationSettings
) -> BatchValidation:
    """Hold the facts of a batch against the suite.

    The expectations about images come first, since one about the batch counts the images that fail them.

    Args:
        rows: One for each image of the batch.
        suite_name: Line and batch, which the page is headed with.
        limits: Of the images.
        settings: Of the batch: number of images, share of quarantined.

    Raises:
        CaeError: If an expectation could not be worked out.
    """
    about_images, about_batch = image_expectations(limits), batch_expectations(settings)
    table = _facts_table(rows)
    of_images = _without_consequences(
        _image_result(expectation, result, rows, table)
        for expectation, result in zip(about_images, _results(table, about_images, _of_images), strict=True)
    )
    faulty = {
        failure.row_id for result in of_images for failure in result.failures if failure.reason.speaks_against_batch
    }
    counted = table.assign(is_faulty=table.index.isin(faulty).astype(float))
    of_batch = tuple(
        BatchResult(expectation, shown(result["result"]["observed_value"]), bool(result["success"]))
        for expectation, result in zip(about_batch, _results(counted, about_batch, _of_batch), strict=True)
    )
    return BatchValidation(suite_name, len(rows), of_images, of_batch)


def _without_consequences(results: Iterable[ImageResult]) -> tuple[ImageResult, ...]:
    """Say of an image whose bit depth nobody knows just that: that it looks dark, flat and soft follows from it."""
    all_results = tuple(results)
    misread = {
        failure.row_id for result in all_results for failure in result.failures if failure.reason is Reason.UNUSED_RANGE
    }
    return tuple(
        replace(result, failures=tuple(one for one in result.failures if one.row_id not in misread))
        if result.expectation.reason in (Reason.TOO_DARK, Reason.BLANK, Reason.BLURRED)
        else result
        for result in all_results
    )


def _great_expectations() -> Any:
    """Load the library, told first to send no usage statistics: not every version of it does without them."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    import great_expectations

    return great_expectations


def _facts_table(rows: Sequence[FactsRow]) -> pd.DataFrame:
    """One row per image, whose index is its place; facts that an image does not have are null."""
    import pandas as pd

    columns: dict[str, list[Any]] = {
        "decoding": [str(row.reason) if row.reason else DECODED for row in rows],
        **{name: [getattr(row.facts, name, None) for row in rows] for name in FACTS},
        **{name: [getattr(row, name) for row in rows] for name in WORKED_OUT},
        "duplicate_of": [row.duplicate_of for row in rows],
        "near_duplicate_of": [row.near_duplicate_of for row in rows],
    }
    measured = (name for name, kind in FACT_TYPES.items() if kind is not str)
    numbers = dict.fromkeys((*measured, *WORKED_OUT), "float64")
    return pd.DataFrame(columns, columns=list(COLUMNS), dtype="object").astype(numbers)


def _of_images(gxe: Any, expectation: ImageExpectation, meta: Mapping[str, int]) -> Any:
    column = expectation.column
    if expectation.is_empty:
        return gxe.ExpectColumnValuesToBeNull(column=column, meta=meta)
    if expectation.allowed is not None:
        return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(expectation.allowed), meta=meta)
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=expectation.low, max_value=expectation.high, meta=meta
    )


def _of_batch(gxe: Any, expectation: BatchExpectation, meta: Mapping[str, int]) -> Any:
    limits = {"min_value": expectation.low, "max_value": expectation.high, "meta": meta}
    if expectation.subject == NUM_IMAGES:
        return gxe.ExpectTableRowCountToBeBetween(**limits)
    return gxe.ExpectColumnMeanToBeBetween(column="is_faulty", **limits)


def _results(
    table: pd.DataFrame, expectations: Sequence[Expected], build: Callable[[Any, Expected, Mapping[str, int]], Any]
) -> list[dict[str, Any]]:
    """Run the expectations on a table; their results, in their order.

    The library returns results in an order of its own, so that each expectation carries its place in its `meta`.
    """
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # ours say what is going on
    asset = context.data_sources.add_pandas("landing zone").add_dataframe_asset("facts")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite(
        name="facts", expectations=[build(gx.expectations, one, {"place": i}) for i, one in enumerate(expectations)]
    )
    run = batch.validate(suite, result_format={"result_format": "COMPLETE", "exclude_unexpected_values": True})
    results = [_worked_out(result) for result in run.to_json_dict()["results"]]
    return sorted(results, key=lambda result: int(result["expectation_config"]["meta"]["place"]))


def _worked_out(result: dict[str, Any]) -> dict[str, Any]:
    """Refuse a result that is an exception."""
    info = result.get("exception_info") or {}
    # one exception has the flag at the top, several are keyed by the metric that raised
    raised = [info] if "raised_exception" in info else list(info.values())
    if any(one.get("raised_exception") for one in raised):
        config = result["expectation_config"]
        raise CaeError(f"expectation {config['type']} on {config['kwargs']} could not be worked out: {raised}")
    return result


def _image_result(
    expectation: ImageExpectation, result: dict[str, Any], rows: Sequence[FactsRow], table: pd.DataFrame
) -> ImageResult:
    figures = result["result"]
    failing = sorted(map(int, figures["unexpected_index_list"] or ()))
    if len(failing) != figures["unexpected_count"]:
        count = figures["unexpected_count"]
        raise CaeError(f"Great Expectations counts {count} failing images but names {len(failing)}: {failing[:20]}")
    held = table[expectation.column].dropna()
    return ImageResult(
        expectation,
        seen=_counted(held) if expectation.is_empty else _seen(held),
        num_checked=len(rows) if expectation.is_empty else len(held),
        failures=tuple(_failure(expectation, row_id, rows[row_id]) for row_id in failing),
    )


def _failure(expectation: ImageExpectation, row_id: int, row: FactsRow) -> ImageFailure:
    # an expectation without a reason is the one about decoding, of which the row holds the reason
    reason = expectation.reason or row.reason or Reason.UNREADABLE
    return ImageFailure(row_id, row.name, reason, _detail(expectation, row))


def _detail(expectation: ImageExpectation, row: FactsRow) -> str:
    """Say what was seen and wanted, in words."""
    match expectation.column:
        case "decoding":
            return row.detail
        case "duplicate_of":
            return f"same as {row.duplicate_of}"
        case "near_duplicate_of":
            return f"almost the same as {row.near_duplicate_of}"
        case "used_bits":
            return _told_of_depth(expectation, row)
        case column:
            value = getattr(row if column in WORKED_OUT else row.facts, column)
            return f"{column} {shown(value)}, wanted {expectation.wanted}"


def _told_of_depth(expectation: ImageExpectation, row: FactsRow) -> str:
    """Name the range that is used, and the knob; `used_bits` is there, or nothing would have failed."""
    used = int(row.facts.used_bits or 0) if row.facts else 0
    if expectation.reason is Reason.UNUSED_RANGE:
        depth = next(bits for bits in SENSOR_BITS if bits >= used)
        return f"values 0 to {2**used - 1} of 65535: set bit_depth = {depth} in the line's table images"
    depth = int(expectation.high or 0)
    return f"values up to {2**used - 1}, bit_depth = {depth} ends at {2**depth - 1}"


def _counted(held: pd.Series) -> str:
    return f"{len(held)} image{'' if len(held) == 1 else 's'}" if len(held) else shown(None)


def _seen(held: pd.Series) -> str:
    """Say what a column holds: the span of its numbers, or how often each of its texts."""
    if held.empty:
        return shown(None)
    if held.dtype == "float64":
        low, high = shown(held.min()), shown(held.max())
        return low if low == high else f"{low} to {high}"
    counts = held.value_counts()
    told = ", ".join(f"{text} ({count})" for text, count in counts.head(MAX_TEXTS_SHOWN).items())
    return told + (f" and {len(counts) - MAX_TEXTS_SHOWN} more" if len(counts) > MAX_TEXTS_SHOWN else "")
