"""Serves the reports and Data Docs of the workspace; who may see them is for who mounts it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse

_LIST = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Night reports</title>
<style>body{{font:15px/1.6 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}}</style>
<h1>Night reports</h1>{body}</html>"""


def reports_app(reports: Path, *, dependencies: Sequence[Any]) -> FastAPI:
    """Build the application.

    Args:
        reports: Folder of the reports; only `.html` files below it are served.
        dependencies: FastAPI dependencies that every route runs first, such as a check of rights.
    """
    app = FastAPI(
        title="cae-pipeline", dependencies=list(dependencies), docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.get("/reports", response_class=HTMLResponse)
    def list_reports() -> str:
        nights = _linked(reports.glob("*.html"), "reports") or "<p>No night has been published yet.</p>"
        decisions = _linked(reports.glob("gate/*.html"), "reports/gate")
        return _LIST.format(body=nights + (f"<h1>Decisions of the gate</h1>{decisions}" if decisions else ""))

    @app.get("/reports/{path:path}")
    def report(path: str) -> FileResponse:
        found = (reports / path).resolve()
        if not (found.is_relative_to(reports.resolve()) and found.suffix == ".html" and found.is_file()):
            raise HTTPException(404, f"no report {path!r}")
        # reports hold no scripts of ours; whatever a name of a file brings along must not run either
        return FileResponse(found, media_type="text/html", headers={"Content-Security-Policy": "script-src 'none'"})

    return app


def _linked(pages: Iterable[Path], folder: str) -> str:
    """A list of links, newest name first; empty if there is none."""
    names = sorted((escape(page.stem) for page in pages), reverse=True)
    rows = "".join(f'<li><a href="{folder}/{name}.html">{name}</a></li>' for name in names)
    return f"<ul>{rows}</ul>" if rows else ""
