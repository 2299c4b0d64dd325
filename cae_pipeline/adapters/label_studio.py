"""Label Studio's JSON: images with what the model says as tasks, and people's verdicts as annotations.

The format is that of Label Studio's import and export of tasks ("Label Studio JSON format of annotated tasks"):
a list of tasks with `data`, `predictions` and `annotations`, boxes in percent of the image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cae_pipeline.domain.outcome import Region, ScoredImage
from cae_pipeline.domain.verdict import WORDS, Verdict
from cae_pipeline.errors import ConfigurationError

AS_IT_IS = ("s3://", "gs://", "azure-blob://")
VERDICT, BOXES, IMAGE = "verdict", "regions", "image"
LABELLING_CONFIG = f"""<View>
  <Image name="{IMAGE}" value="$image"/>
  <Choices name="{VERDICT}" toName="{IMAGE}" choice="single" required="true">
    <Choice value="defect"/>
    <Choice value="normal"/>
    <Choice value="unsure"/>
  </Choices>
  <RectangleLabels name="{BOXES}" toName="{IMAGE}">
    <Label value="anomaly"/>
  </RectangleLabels>
  <TextArea name="note" toName="{IMAGE}" placeholder="note"/>
</View>
"""
"""What a project in Label Studio is set up with."""


def as_task(image: ScoredImage, verdicts: Sequence[Verdict], *, prefix: str) -> dict[str, Any]:
    """Turn an image into a task.

    Args:
        image: As the results table knows it.
        verdicts: All that was said of it, oldest first.
        prefix: What Label Studio finds the landing zone under, such as `/data/local-files/?d=`.
    """
    word = "defect" if image.is_anomalous else "normal"
    predicted = [_choice(word), *(_box(region, image) for region in image.regions)]
    return {
        "data": {
            "image": _address(prefix, f"{image.line}/{image.batch_id}/{image.name}"),
            "image_id": image.image_id,
            "line": image.line,
            "batch_id": image.batch_id,
            "night": str(image.night),
            "score": image.score,
            "p_value": image.p_value,
        },
        "predictions": [{"model_version": image.model_version, "score": 1 - image.p_value, "result": predicted}],
        "annotations": [
            {
                "result": [_choice(verdict.verdict), *([_note(verdict.note)] if verdict.note else [])],
                "completed_by": {"email": verdict.author},
                "created_at": verdict.created_at.isoformat(),
            }
            for verdict in verdicts
        ],
    }


def _address(prefix: str, place: str) -> str:
    """Where Label Studio finds an image; signs in names are spelt out, since `#`, `&` or `+` mean something there.

    Stores of objects are the exception: what stands behind the bucket is taken as it is.
    """
    return prefix + (place if prefix.startswith(AS_IT_IS) else quote(place, errors="surrogateescape"))


def read_verdicts(path: Path) -> list[Verdict]:
    """Read the verdicts of an export of Label Studio; skipped and cancelled annotations say nothing.

    Raises:
        ConfigurationError: If it is not such an export; says where.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is no JSON file: {error}") from error
    if not isinstance(tasks, list):
        raise ConfigurationError(f"{path}: expected a list of tasks, as Label Studio exports them as JSON")
    return [verdict for number, task in enumerate(tasks) for verdict in _verdicts(task, f"{path}, task {number + 1}")]


def _verdicts(task: Any, where: str) -> Iterable[Verdict]:
    try:
        image_id = task["data"]["image_id"]
        for annotation in task.get("annotations", []):
            words = [
                choice
                for part in annotation["result"]
                if part.get("from_name") == VERDICT
                for choice in part["value"]["choices"]
            ]
            if annotation.get("was_cancelled") or not words:
                continue
            if len(words) > 1 or words[0] not in WORDS:
                raise ConfigurationError(f"{where}: expected one of defect, normal, unsure, received {words}")
            yield Verdict(
                image_id, words[0], _author(annotation), _moment(annotation["created_at"]), _notes(annotation)
            )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{where}: {error!r}; expected data.image_id and annotations with result and created_at. "
            "Export as JSON, not JSON-MIN, tasks that `cae verdicts export` has made."
        ) from error


def _author(annotation: Mapping[str, Any]) -> str:
    by = annotation.get("completed_by", "")
    return str(by.get("email") or by.get("id")) if isinstance(by, Mapping) else f"label-studio:{by}"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _notes(annotation: Mapping[str, Any]) -> str:
    texts = [part["value"]["text"] for part in annotation["result"] if part.get("from_name") == "note"]
    return "\n".join(line for text in texts for line in ([text] if isinstance(text, str) else text))


def _choice(word: str) -> dict[str, Any]:
    return {"from_name": VERDICT, "to_name": IMAGE, "type": "choices", "value": {"choices": [word]}}


def _note(text: str) -> dict[str, Any]:
    return {"from_name": "note", "to_name": IMAGE, "type": "textarea", "value": {"text": [text]}}


def _box(region: Region, image: ScoredImage) -> dict[str, Any]:
    across, down = 100 / image.width_px, 100 / image.height_px
    return {
        "from_name": BOXES,
        "to_name": IMAGE,
        "type": "rectanglelabels",
        "original_width": image.width_px,
        "original_height": image.height_px,
        "value": {
            "x": region.x_px * across,
            "y": region.y_px * down,
            "width": region.width_px * across,
            "height": region.height_px * down,
            "rotation": 0,
            "rectanglelabels": ["anomaly"],
        },
    }
