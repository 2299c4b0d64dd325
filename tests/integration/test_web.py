from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import Depends, HTTPException
from fastapi.testclient import TestClient

from cae_pipeline.steps.services import Services
from cae_pipeline.web.api import review_api
from cae_pipeline.web.app import reports_app


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    (folder / "cells").mkdir(parents=True)
    (folder / "2026-01-31.html").write_text("<h1>Night of 2026-01-31</h1>")
    (folder / "cells" / "x.data-docs.html").write_text("docs")
    (folder / "gate").mkdir()
    (folder / "gate" / "cae-cells-v1.html").write_text("decision")
    (folder / "secret.txt").write_text("secret")
    (tmp_path / "outside.html").write_text("outside")
    return folder


def _unconnected() -> Services:
    raise AssertionError("nothing is asked of the outside world")


def test_reports_and_data_docs_are_served(reports: Path) -> None:
    client = TestClient(reports_app(reports, dependencies=[]))
    assert "2026-01-31.html" in client.get("/reports").text
    page = client.get("/reports/2026-01-31.html")
    assert page.text == "<h1>Night of 2026-01-31</h1>"
    assert client.get("/reports/cells/x.data-docs.html").text == "docs"
    assert '<a href="reports/gate/cae-cells-v1.html">cae-cells-v1</a>' in client.get("/reports").text
    assert client.get("/reports/gate/cae-cells-v1.html").text == "decision"


SERVED = (
    "/reports",
    "/reports/2026-01-31.html",
    "/reports/cells/x.data-docs.html",
    "/reports/missing.html",
    "/nowhere",
)


@pytest.mark.parametrize("path", [*SERVED, "/api/lines/washers/queue?count=0"])
def test_every_answer_tells_the_browser_to_run_and_to_fetch_nothing(reports: Path, path: str) -> None:
    app = reports_app(reports, dependencies=[])
    app.include_router(review_api(_unconnected, judge=lambda: "nobody"))
    headers = TestClient(app).get(path).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'self'",
    }
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_routes_served_are_those_whose_headers_are_tested(reports: Path) -> None:
    routes = {getattr(route, "path", "") for route in reports_app(reports, dependencies=[]).routes}
    assert routes == {"/reports", "/reports/{path:path}"}


def test_the_list_of_reports_links_to_files_whatever_they_are_called(reports: Path) -> None:
    name = '"><img src=x onerror=alert(1)>#?%.html'
    (reports / name).write_text("odd")
    client = TestClient(reports_app(reports, dependencies=[]))
    page = client.get("/reports").text
    assert "<img" not in page
    link = next(link for link in re.findall(r'href="(reports/[^"]*)"', page) if "onerror" in link)
    assert client.get(f"/{link}").text == "odd"


@pytest.mark.parametrize("path", ["secret.txt", "../outside.html", "%2e%2e/outside.html", "missing.html", "cells"])
def test_nothing_else_is_served(reports: Path, path: str) -> None:
    assert TestClient(reports_app(reports, dependencies=[])).get(f"/reports/{path}").status_code == 404


def test_whoever_may_not_look_gets_nothing(reports: Path) -> None:
    def refuse() -> None:
        raise HTTPException(401)

    client = TestClient(reports_app(reports, dependencies=[Depends(refuse)]))
    for path in ("/reports", "/reports/2026-01-31.html"):
        assert client.get(path).status_code == 401
