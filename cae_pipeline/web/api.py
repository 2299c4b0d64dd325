"""The JSON API of review: what to look at, what is known of an image, and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict

from cae_pipeline.adapters.results.queries.images import show_image
from cae_pipeline.errors import CaeError, NoChampionError, NotFoundError
from cae_pipeline.lines_file import find_line, read_lines
from cae_pipeline.settings import read_settings
from cae_pipeline.steps.life.review import review_queue, say_verdict
from cae_pipeline.steps.services import Services


class VerdictBody(BaseModel):
    """What a person says."""

    model_config = ConfigDict(extra="forbid")

    verdict: Literal["defect", "normal", "unsure"]
    note: str = ""


def review_api(connected: Callable[[], Services], *, judge: Callable[..., str]) -> APIRouter:
    """Build the routes.

    Args:
        connected: Gives the outside world of the steps.
        judge: FastAPI dependency that refuses who may not judge, and names who may.
    """
    api = APIRouter(prefix="/api")

    @api.get("/lines/{line}/queue")
    def queue(line: str, count: Annotated[int, Query(ge=1, le=500)] = 20) -> Any:
        """List the images a verdict on which would teach most."""
        with_lines = read_lines(read_settings().lines_path)
        queued = _answered(lambda: review_queue(find_line(with_lines, line), connected(), count=count))
        return jsonable_encoder([one.as_row() for one in queued])

    @api.get("/images/{image_id}")
    def image(image_id: str) -> Any:
        """Tell everything known of one image."""
        with connected().read() as connection:
            return jsonable_encoder(_answered(lambda: show_image(connection, image_id)))

    @api.post("/images/{image_id}/verdicts", status_code=201)
    def verdict(image_id: str, body: VerdictBody, author: str = Depends(judge)) -> dict[str, str]:
        """Append a verdict; earlier ones stay."""
        services = replace(connected(), author=author)
        full = _answered(lambda: say_verdict(image_id, body.verdict, services, note=body.note))
        return {"image_id": full, "verdict": body.verdict, "author": author}

    return api


def _answered(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (NotFoundError, NoChampionError) as error:
        raise HTTPException(404, str(error)) from error
    except CaeError as error:
        raise HTTPException(422, str(error)) from error
