from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import Depends, HTTPException
from fastapi.testclient import TestClient

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


def test_reports_and_data_docs_are_served_without_scripts(reports: Path) -> None:
    client = TestClient(reports_app(reports, dependencies=[]))
    assert "2026-01-31.html" in client.get("/reports").text
    page = client.get("/reports/2026-01-31.html")
    assert page.text == "<h1>Night of 2026-01-31</h1>"
    assert page.headers["content-security-policy"] == "script-src 'none'"
    assert client.get("/reports/cells/x.data-docs.html").text == "docs"
    assert '<a href="reports/gate/cae-cells-v1.html">cae-cells-v1</a>' in client.get("/reports").text
    assert client.get("/reports/gate/cae-cells-v1.html").text == "decision"


@pytest.mark.parametrize("path", ["secret.txt", "../outside.html", "%2e%2e/outside.html", "missing.html", "cells"])
def test_nothing_else_is_served(reports: Path, path: str) -> None:
    assert TestClient(reports_app(reports, dependencies=[])).get(f"/reports/{path}").status_code == 404


def test_whoever_may_not_look_gets_nothing(reports: Path) -> None:
    def refuse() -> None:
        raise HTTPException(401)

    client = TestClient(reports_app(reports, dependencies=[Depends(refuse)]))
    for path in ("/reports", "/reports/2026-01-31.html"):
        assert client.get(path).status_code == 401
