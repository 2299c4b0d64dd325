"""A folder and a file called like HTML, from the landing zone to the pages that people open."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from fastapi.testclient import TestClient

from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.publish import publish_night
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from cae_pipeline.web.app import reports_app
from tests.conftest import deliver, png, washer

HOSTILE = '2026-01-31"><img src=x onerror=alert(1)>'
NIGHT = date(2026, 1, 31)


class _Pictures(HTMLParser):
    """Collects the addresses of pictures, and every attribute that would run a script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [str(value) for name, value in attrs if tag == "img" and name == "src"]
        self.found += [name for name, _ in attrs if name.startswith("on")]


def _validated(line: Line, services: Services, folder: Path) -> None:
    files = {f"{HOSTILE}{seed}.png": png(washer(seed)) for seed in range(3)}
    deliver(folder / "landing", line.name, HOSTILE, {**files, f"{HOSTILE}.png": b"no image"})
    validate_batch(line, HOSTILE, services)


def test_names_like_html_are_text_in_data_docs_and_in_the_report_of_the_night(
    line: Line, make_services: Callable[[], Services], workspace: Path
) -> None:
    services = make_services()
    _validated(line, services, workspace)
    night = publish_night(NIGHT, [line], services).path.read_text()
    docs = next((workspace / "reports" / line.name).glob("*.data-docs.html")).read_text()
    for page in (night, docs):
        assert f"{HOSTILE}.png".replace('"', "&#34;").replace("<", "&lt;").replace(">", "&gt;") in page
        assert _Pictures(page).found == []
        assert "default-src &#39;none&#39;" in page


def test_the_report_of_the_night_links_to_such_a_batch_on_disk_and_as_served(
    line: Line, make_services: Callable[[], Services], workspace: Path
) -> None:
    services = make_services()
    _validated(line, services, workspace)
    night = publish_night(NIGHT, [line], services)
    link = next(iter(re.findall(r'href="([^"]*data-docs[^"]*)"', night.path.read_text())))
    assert (night.path.parent / unquote(link)).is_file()
    served = TestClient(reports_app(workspace / "reports", dependencies=[])).get(f"/reports/{link}")
    assert served.status_code == 200
    assert "frame-ancestors 'self'" in served.headers["content-security-policy"]
