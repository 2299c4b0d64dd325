"""Great Expectations: the suite as code, its results as reasons, and the page a person reads.

A table of facts, one row per image, is held against a suite built from the line's limits. An
expectation about a column of images carries in its `meta` the reason that images failing it are
quarantined for; an expectation about the whole batch carries none, and rejects the batch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cae_pipeline.domain.limits import FactLimits
from cae_pipeline.domain.line import ValidationSettings
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.errors import CaeError

# read when the library is imported: no plant's network is asked to carry usage statistics
os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")

import great_expectations as gx
from great_expectations import expectations as gxe
from great_expectations.expectations.expectation import Expectation
from great_expectations.render.renderer import ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

COLUMNS = (
    "row_id",
    "name",
    "decoding",  # "decoded", or the reason why there are no facts
    "width_px",
    "height_px",
    "mode",
    "brightness",
    "contrast",
    "sharpness",
    "entropy",
    "duplicate_of",
    "near_duplicate_of",
)
DECODED = "decoded"


@dataclass(frozen=True)
class ImageFailure:
    """One image that does not meet one expectation."""

    row_id: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class SuiteOutcome:
    """What the suite says of a batch.

    Attributes:
        failures: Of images, in the suite's order: the first of an image is its reason.
        rejected_for: One sentence per failed expectation about the whole batch.
        page: Data Docs of the validation, one HTML page that needs no network.
    """

    failures: tuple[ImageFailure, ...]
    rejected_for: tuple[str, ...]
    page: str


def validate_facts(
    facts: pd.DataFrame, *, suite_name: str, limits: FactLimits, settings: ValidationSettings
) -> SuiteOutcome:
    """Hold a batch's table of facts against the suite.

    Args:
        facts: The columns of `COLUMNS`, one row per image; missing facts are null.
        suite_name: What the page is headed with.
        limits: Of the images.
        settings: Of the batch: number of images, share of quarantined.

    Raises:
        CaeError: If a column is missing, or an expectation could not be worked out.
    """
    missing = [column for column in COLUMNS if column not in facts.columns]
    if missing:
        raise CaeError(f"the table of facts lacks {missing}; expected {list(COLUMNS)}, received {list(facts.columns)}")
    about_images, about_batch = image_expectations(limits), batch_expectations(settings)
    first = _run(facts, f"{suite_name}: images", about_images)
    failures = _image_failures(first, facts, about_images)
    quarantined = facts["row_id"].isin({failure.row_id for failure in failures}).astype(float)
    # the second run judges the batch by what the first said of its images, and is the one people read
    whole = _run(facts.assign(is_quarantined=quarantined), suite_name, [*about_images, *about_batch])
    rejected_for = tuple(_batch_failure(result) for result in _results(whole) if not _reason(result))
    return SuiteOutcome(failures, tuple(text for text in rejected_for if text), _page(whole))


def image_expectations(limits: FactLimits) -> list[Expectation]:
    """Build the expectations about single images; the first one an image fails is its reason."""
    decoding, between, null = (
        gxe.ExpectColumnValuesToNotBeInSet,
        gxe.ExpectColumnValuesToBeBetween,
        gxe.ExpectColumnValuesToBeNull,
    )
    width, height = limits.width_px, limits.height_px
    rows: list[tuple[Reason, type[Expectation], dict[str, Any], bool]] = [
        (Reason.MISSING, decoding, {"column": "decoding", "value_set": ["missing"]}, True),
        (Reason.CHANGED, decoding, {"column": "decoding", "value_set": ["changed"]}, True),
        (Reason.TOO_LARGE, decoding, {"column": "decoding", "value_set": ["too_large"]}, True),
        (Reason.NOT_AN_IMAGE, decoding, {"column": "decoding", "value_set": ["not_an_image"]}, True),
        (Reason.TRUNCATED, decoding, {"column": "decoding", "value_set": ["truncated"]}, True),
        (Reason.UNREADABLE, decoding, {"column": "decoding", "value_set": ["unreadable"]}, True),
        (Reason.DECODE_TIMEOUT, decoding, {"column": "decoding", "value_set": ["decode_timeout"]}, True),
        (Reason.DECODER_CRASHED, decoding, {"column": "decoding", "value_set": ["decoder_crashed"]}, True),
        (Reason.MULTIPLE_FRAMES, decoding, {"column": "decoding", "value_set": ["multiple_frames"]}, True),
        (Reason.WRONG_MODE, decoding, {"column": "decoding", "value_set": ["wrong_mode"]}, True),
        (Reason.WRONG_SIZE, between, {"column": "width_px", "min_value": width, "max_value": width}, width is not None),
        (
            Reason.WRONG_SIZE,
            between,
            {"column": "height_px", "min_value": height, "max_value": height},
            height is not None,
        ),
        (
            Reason.WRONG_MODE,
            gxe.ExpectColumnValuesToBeInSet,
            {"column": "mode", "value_set": list(limits.modes or ())},
            limits.modes is not None,
        ),
        (Reason.TOO_DARK, between, {"column": "brightness", "min_value": limits.min_brightness}, True),
        (Reason.TOO_BRIGHT, between, {"column": "brightness", "max_value": limits.max_brightness}, True),
        (Reason.BLANK, between, {"column": "contrast", "min_value": limits.min_contrast}, True),
        (Reason.BLURRED, between, {"column": "sharpness", "min_value": limits.min_sharpness}, True),
        (Reason.DUPLICATE, null, {"column": "duplicate_of"}, True),
        (Reason.NEAR_DUPLICATE, null, {"column": "near_duplicate_of"}, limits.max_near_duplicate_bits is not None),
    ]
    return [kind(**knobs, meta={"reason": reason.value}) for reason, kind, knobs, wanted in rows if wanted]


def batch_expectations(settings: ValidationSettings) -> list[Expectation]:
    """Build the expectations about the batch as a whole."""
    return [
        gxe.ExpectTableRowCountToBeBetween(min_value=settings.min_images, max_value=settings.max_images),
        gxe.ExpectColumnMeanToBeBetween(column="is_quarantined", max_value=settings.max_quarantined_share),
    ]


def _run(facts: pd.DataFrame, suite_name: str, expectations: Sequence[Expectation]) -> Any:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # ours say what is going on
    asset = context.data_sources.add_pandas("landing zone").add_dataframe_asset("facts")
    suite = context.suites.add(gx.ExpectationSuite(name=suite_name, expectations=[_copy(e) for e in expectations]))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=suite_name, data=asset.add_batch_definition_whole_dataframe("gx_batch"), suite=suite
        )
    )
    return definition.run(
        batch_parameters={"dataframe": facts},
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["row_id"],
            "exclude_unexpected_values": True,
        },
    )


def _copy(expectation: Expectation) -> Expectation:
    """Free of the id that the first suite gave it."""
    return expectation.copy(update={"id": None})


def _image_failures(run: Any, facts: pd.DataFrame, order: Sequence[Expectation]) -> tuple[ImageFailure, ...]:
    by_id = facts.set_index("row_id")
    # results come in another order than the suite
    rank = {_signature(e.expectation_type, e.column, e.meta or {}): index for index, e in enumerate(order)}
    failures = []
    for result in _results(run):
        config = result["expectation_config"]
        position = rank[_signature(config["type"], config["kwargs"]["column"], config["meta"])]
        for row_id in _failing_rows(result):
            detail = _seen_and_wanted(config, by_id.loc[row_id].to_dict())
            failures.append((position, ImageFailure(row_id, Reason(config["meta"]["reason"]), detail)))
    return tuple(failure for _, failure in sorted(failures, key=lambda pair: (pair[1].row_id, pair[0])))


def _failing_rows(result: dict[str, Any]) -> list[int]:
    """Without the unexpected values there is one entry that lists all rows, with them one entry per row."""
    rows: list[int] = []
    for entry in result["result"].get("unexpected_index_list") or ():
        found = entry["row_id"]
        rows += map(int, found if isinstance(found, list) else [found])
    count = result["result"]["unexpected_count"]
    if len(rows) != count:
        raise CaeError(f"Great Expectations counts {count} failing images but names {len(rows)}: {rows[:20]}")
    return rows


def _signature(kind: str, column: str, meta: dict[str, Any]) -> tuple[str, str, str]:
    return kind, column, str(meta["reason"])


def _results(run: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = run.to_json_dict()["results"]
    for result in results:
        info = result.get("exception_info") or {}
        # one exception has the flag at the top, several are keyed by the metric that raised
        raised = [info] if "raised_exception" in info else list(info.values())
        if any(one.get("raised_exception") for one in raised):
            config = result["expectation_config"]
            raise CaeError(f"expectation {config['type']} on {config['kwargs']} could not be worked out: {raised}")
    return results


def _reason(result: dict[str, Any]) -> str:
    return str((result["expectation_config"].get("meta") or {}).get("reason", ""))


def _seen_and_wanted(config: dict[str, Any], row: dict[Hashable, Any]) -> str:
    kwargs = config["kwargs"]
    column = kwargs["column"]
    if column == "decoding":
        return str(row.get("detail", ""))
    if column in ("duplicate_of", "near_duplicate_of"):
        return f"same as {row[column]}" if column == "duplicate_of" else f"almost the same as {row[column]}"
    seen = row[column]
    shown = f"{seen:.4g}" if isinstance(seen, float) else str(seen)
    return f"{column} {shown}, wanted {_wanted(kwargs)}"


def _batch_failure(result: dict[str, Any]) -> str:
    if result["success"]:
        return ""
    config = result["expectation_config"]
    seen = result["result"].get("observed_value")
    shown = f"{seen:.4g}" if isinstance(seen, float) else str(seen)
    column = config["kwargs"].get("column")
    return f"{config['type']}{f' of {column}' if column else ''}: seen {shown}, wanted {_wanted(config['kwargs'])}"


def _wanted(kwargs: dict[str, Any]) -> str:
    if "value_set" in kwargs:
        return "one of " + ", ".join(map(str, kwargs["value_set"]))
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and low == high:
        return f"{low:.4g}"
    return " and ".join(
        f"{word} {limit:.4g}" for word, limit in (("at least", low), ("at most", high)) if limit is not None
    )


_FROM_NETWORK = re.compile(
    r"<script[^>]*\ssrc=\"https?:[^>]*>\s*</script>"
    r"|<link[^>]*\shref=\"https?:[^>]*>"
    r"|<img[^>]*\ssrc=\"https?:[^>]*>"
    r"|<a[^>]*\shref=\"https?://greatexpectations[^>]*>.*?</a>",
    re.DOTALL,
)
_TEMPLATES = Path(__file__).parent / "templates"


def _page(run: Any) -> str:
    for result in run.results:
        # its number formatter does not know NumPy's own floats
        if isinstance(result.result.get("observed_value"), np.floating):
            result.result["observed_value"] = float(result.result["observed_value"])
    html = str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(run)))
    style = (_TEMPLATES / "data-docs.css").read_text(encoding="utf-8")
    return _FROM_NETWORK.sub("", html).replace("</head>", f"<style>{style}</style></head>", 1)
