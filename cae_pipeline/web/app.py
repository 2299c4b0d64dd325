"""Serves the reports and Data Docs of the workspace; who may see them is for who mounts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from cae_pipeline.reporting.pages import SERVED_HEADERS
from cae_pipeline.reporting.report_list import render_report_list


def reports_app(reports: Path, *, dependencies: Sequence[Any]) -> FastAPI:
    """Build the application.

    Args:
        reports: Folder of the reports; only `.html` files below it are served.
        dependencies: FastAPI dependencies that every route runs first, such as a check of rights.
    """
    app = FastAPI(
        title="cae-pipeline", dependencies=list(dependencies), docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.middleware("http")
    async def add_headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        # on every answer, refusals and routes that are added later included
        response = await answer(request)
        response.headers.update(SERVED_HEADERS)
        return response

    @app.get("/reports", response_class=HTMLResponse)
    def list_reports() -> str:
        return render_report_list(nights=_newest_first(reports), decisions=_newest_first(reports / "gate"))

    @app.get("/reports/{path:path}")
    def report(path: str) -> FileResponse:
        found = (reports / path).resolve()
        if not (found.is_relative_to(reports.resolve()) and found.suffix == ".html" and found.is_file()):
            raise HTTPException(404, f"no report {path!r}")
        return FileResponse(found, media_type="text/html")

    return app


def _newest_first(folder: Path) -> list[str]:
    """Name the pages in a folder, without `.html`; their names begin with a date or a version."""
    return sorted((page.stem for page in folder.glob("*.html")), reverse=True)
