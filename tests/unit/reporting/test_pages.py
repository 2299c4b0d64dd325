from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import pytest

from cae_pipeline import reporting
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.domain.promotion import Decision
from cae_pipeline.domain.suite import BatchExpectation, ImageExpectation
from cae_pipeline.domain.validation import BatchResult, BatchValidation, ImageFailure, ImageResult
from cae_pipeline.reporting.data_docs import MAX_EXAMPLES, render_data_docs
from cae_pipeline.reporting.export import Card, ExportedImage, render_index
from cae_pipeline.reporting.night import FlaggedImage, LineNight, histogram_of, render_decision, render_night
from cae_pipeline.reporting.pages import render_page
from cae_pipeline.reporting.report_list import render_report_list

TEMPLATES = Path(reporting.__file__).parent / "templates"
MADE_AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOSTILE = '"><img src=x onerror=alert(1)>'


def _validation(*, num_failing: int = 1, is_rejected: bool = False) -> BatchValidation:
    failures = tuple(
        ImageFailure(row, f"{HOSTILE}{row}.png", Reason.TOO_DARK, "brightness 0.05, wanted at least 0.1")
        for row in range(num_failing)
    )
    return BatchValidation(
        f"washers: {HOSTILE}",
        num_images=100,
        of_images=(ImageResult(ImageExpectation("brightness", Reason.TOO_DARK, low=0.1), "0.05 to 1", 80, failures),),
        of_batch=(BatchResult(BatchExpectation("number of images", low=1), "100", is_met=not is_rejected),),
    )


def _line_night() -> LineNight:
    batch = {"batch_id": HOSTILE, "night": HOSTILE, "reported_night": HOSTILE, "status": "rejected",
             "num_images": 2, "num_quarantined": 1, "rejected_for": HOSTILE,
             "data_docs_uri": f"reports/washers/{HOSTILE}#1.data-docs.html"}  # fmt: skip
    odd = {"batch_id": HOSTILE, "name": HOSTILE, "status": "accepted", "reason": "too_dark", "detail": HOSTILE,
           "score": 2.0}  # fmt: skip
    flagged = FlaggedImage(HOSTILE, HOSTILE, "ab" * 32, 2.0, 0.01, 1, HOSTILE, "data:image/jpeg;base64,AA", "data:,")
    counts = dict.fromkeys(("images", "quarantined", "out_of_limits", "scored", "flagged", "waiting", "failed"), 1)
    shift = {"measure": HOSTILE, "then": [0.5, 0.5], "now": [0.2, 0.8], "low": 0.0, "high": 1.0, "distance": 0.3,
             "has_moved": True}  # fmt: skip
    return LineNight(
        "washers", HOSTILE, [batch], True, [batch], counts, {HOSTILE: 1}, [odd], [flagged], 1, HOSTILE, 1.0, 0.05,
        histogram_of([0.5, 2.0], 1.0), {"diagnosis": "camera", "reasons": [HOSTILE], "shifts": [shift]},
    )  # fmt: skip


def _decision() -> str:
    version = {"model_version": HOSTILE, "line": HOSTILE, "figures": {HOSTILE: 1.0}, "run_id": HOSTILE}
    decision = Decision(promote=False, reasons=(f"refused: {HOSTILE}",), figures={"challenger": {HOSTILE: 1.0}, "champion": None})  # fmt: skip  # noqa: E501
    page = {"challenger": version, "champion": None, "decision": decision, "word": "refused", "author": HOSTILE}
    return render_decision(page, made_at=MADE_AT)


def _card() -> Card:
    row = ExportedImage(
        1, HOSTILE, HOSTILE, date(2026, 1, 31), HOSTILE, 2.0, 1.0, 2.0, 0.01, HOSTILE, 1, 1, 2, 3, 4, "[]",
        "pictures/00001.png", "overlays/00001.png", HOSTILE, 48, 48, "ab" * 32, HOSTILE, MADE_AT,
    )  # fmt: skip
    return Card(row, "data:image/jpeg;base64,AA", "data:,")


PAGES: dict[str, Callable[[], str]] = {
    "night.html": lambda: render_night(date(2026, 1, 31), [_line_night()], unclaimed=[HOSTILE], made_at=MADE_AT),
    "gate.html": _decision,
    "data-docs.html": lambda: render_data_docs(_validation(is_rejected=True), made_at=MADE_AT),
    "export.html": lambda: render_index([_card()], num_images=2, num_problems=1, made_at=MADE_AT).decode(),
    "report-list.html": lambda: render_report_list(nights=[HOSTILE], decisions=[HOSTILE]),
}


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_every_template_has_a_page_that_is_tested_here() -> None:
    assert {path.name for path in TEMPLATES.glob("*.html")} == {*PAGES, "page.html"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_carries_a_policy_that_lets_in_nothing_but_its_own_style_and_pictures(name: str) -> None:
    page = PAGES[name]()
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    policies = [
        attributes["content"]
        for tag, attributes in _Tags(page).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == [
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    ]
    # a policy counts from where it stands: before anything that it is to govern
    assert page.index("Content-Security-Policy") < page.index("<style>")


@pytest.mark.parametrize("name", PAGES)
def test_names_from_outside_never_become_tags(name: str) -> None:
    page = PAGES[name]()
    for tag, attributes in _Tags(page).tags:
        assert tag not in ("script", "link", "base", "form", "iframe", "object")
        assert not [attribute for attribute in attributes if attribute.startswith("on") or attribute == "style"]
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert not str(attributes.get("href", "")).startswith(("http", "javascript", "//"))
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_a_link_to_data_docs_finds_a_file_whatever_its_folder_is_called() -> None:
    page = PAGES["night.html"]()
    links = [str(attributes["href"]) for tag, attributes in _Tags(page).tags if tag == "a"]
    assert "washers/%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%231.data-docs.html" in links


def test_data_docs_say_what_was_expected_seen_and_failed() -> None:
    text = re.sub(r"<[^>]+>|\s+", " ", render_data_docs(_validation(), made_at=MADE_AT))
    text = re.sub(r" +", " ", text)
    assert "100 images 0 cannot be scored 1 odd, scored all the same 1 of 2 expectations met" in text
    assert "brightness mean grey value, 0 to 1 at least 0.1 0.05 to 1 1 80 1.2 % ✗ no too_dark" in text
    assert "Number of images at least 1 100 ✓ yes" in text
    assert "0.png too_dark brightness 0.05, wanted at least 0.1" in text
    assert "rejected" not in text


def test_data_docs_say_why_a_batch_is_rejected() -> None:
    page = render_data_docs(_validation(is_rejected=True), made_at=MADE_AT)
    assert "Number of images: seen 100, wanted at least 1." in page


def test_data_docs_show_some_of_many_failing_images_and_say_so() -> None:
    page = render_data_docs(_validation(num_failing=MAX_EXAMPLES + 7), made_at=MADE_AT)
    assert f"{MAX_EXAMPLES - 1}.png" in page
    assert f"{MAX_EXAMPLES}.png" not in page
    assert f"The first {MAX_EXAMPLES} of {MAX_EXAMPLES + 7}" in page


def test_a_page_that_lacks_a_value_is_an_error_and_not_a_gap() -> None:
    values: dict[str, Any] = {"nights": []}
    with pytest.raises(jinja2.UndefinedError, match="decisions"):
        render_page("report-list.html", **values)


def test_a_report_tells_a_day_off_from_a_missing_batch_and_names_what_nobody_looks_at() -> None:
    empty = replace(_line_night(), batches=[], told_later=[])
    told = render_night(date(2026, 1, 31), [empty], unclaimed=["landing/plats: no line"], made_at=MADE_AT)
    assert "No batch of this night has arrived." in told
    assert "landing/plats: no line" in told
    day_off = render_night(date(2026, 2, 1), [replace(empty, is_working_day=False)], made_at=MADE_AT)
    assert "this is no working day of the line" in day_off
    assert "arrived" not in day_off
