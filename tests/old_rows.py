"""Rows of schema 0003 as version 0.1.0 of the package wrote them, a function per table; for `tests/old_databases.py`.

Everything a test does not look at has a value that is the same in every row of a table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

LATENT = b"\x00\x3c" * 12
"""The narrow middle of the autoencoder: twelve times the half-precision number 1."""
REGIONS = [{"x_px": 4, "y_px": 9, "width_px": 11, "height_px": 7, "area_px": 61, "peak": 2.5}]
THRESHOLDS_OF = {"cae-washers/1": (1, 2.25), "cae-washers/2": (3, 1.75), "cae-tiles/1": (5, 2.5)}
"""Model version → number of the threshold it was registered with, and value of the one in force now."""
MEASURED = {
    "width_px": 48, "height_px": 40, "mode": "RGB", "brightness": 0.5, "contrast": 0.125, "sharpness": 0.75,
    "entropy": 5.5, "difference_hash": "0f" * 32, "red_share": 0.25, "blue_share": 0.375,
}  # fmt: skip
NOT_DECODED = {"missing", "truncated", "not_an_image"}
Row = dict[str, Any]


def digest(name: str) -> str:
    """Digest of anything by the name it has in these files; of a picture it is the `image_id`."""
    return hashlib.sha256(name.encode()).hexdigest()


def batch_key(line: str, batch_id: str, *, number: int = 1) -> str:
    """Digest of line, batch_id and manifest, as the package makes it; each delivery has another manifest."""
    text = json.dumps([line, batch_id, digest(f"manifest {number} of {line}/{batch_id}")])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def at(day: int, hour: int = 12) -> datetime:
    """A moment of January 2026."""
    return datetime(2026, 1, day, hour, 30, 15, 250_000, tzinfo=UTC)


def batch(line: str, batch_id: str, status: str, day: int, members: Sequence[Row], *, number: int = 1) -> Row:
    """One delivery, `number` counts those of the same batch_id; `members` are its rows of `images`."""
    key = batch_key(line, batch_id, number=number)
    rejected = "expect_column_mean_to_be_between of is_quarantined: seen 1, wanted at most 0.7"
    return {
        "batch_key": key, "line": line, "batch_id": batch_id, "night": date(2026, 1, day),
        "manifest_sha256": digest(f"manifest {number} of {line}/{batch_id}"), "status": status,
        "num_images": len(members), "num_quarantined": sum(row["status"] == "quarantined" for row in members),
        "num_bytes": sum(row["num_bytes"] for row in members),
        "rejected_for": rejected if status == "rejected" else "",
        "data_docs_uri": f"reports/{line}/{key}.data-docs.html", "dag_run_id": f"scheduled__2026-01-{day}",
        "validated_at": at(day, 20 + number), "finished_at": at(day, 23) if status == "scored" else None,
    }  # fmt: skip


def image(key: str, name: str, picture: str, reason: str = "", **changes: Any) -> Row:
    """One member of a delivery: accepted without a reason, failed if scoring did, else quarantined."""
    facts = dict.fromkeys(MEASURED) if reason in NOT_DECODED else MEASURED
    return {
        "batch_key": key, "name": name, "image_id": "" if reason == "missing" else digest(picture),
        "num_bytes": 3_000_000_000, "reason": reason, "detail": f"told of {reason}" if reason else "",
        "status": "failed" if reason == "scoring_failed" else "quarantined" if reason else "accepted",
        "duplicate_of": digest(picture) if reason == "duplicate" else "", **facts, **changes,
    }  # fmt: skip


def release(member: Row, *, day: int) -> Row:
    """A quarantined image that a person lets be scored."""
    return {
        "batch_key": member["batch_key"], "name": member["name"], "reason": member["reason"], "author": "ada",
        "note": "the lamp was new", "released_at": at(day, 8),
    }  # fmt: skip


def model_version(line: str, number: int, *, day: int) -> Row:
    """A registered model."""
    name = f"cae-{line}/{number}"
    return {
        "model_version": name, "line": line, "version": number, "run_id": digest(name)[:32],
        "artefact_uri": f"models:/m-{number}", "artefact_sha256": digest(f"artefact of {name}"),
        "snapshot_sha256": digest(f"snapshot of {name}"), "figures": {"synthetic_auroc": 0.875, "epochs": 12},
        "registered_at": at(day),
    }  # fmt: skip


def snapshot(version: str, members: Sequence[Row], parts: Sequence[str]) -> list[Row]:
    """What a model was trained on, and the part each image played."""
    return [
        {"model_version": version, "batch_key": member["batch_key"], "name": member["name"], "part": part}
        for member, part in zip(members, parts, strict=True)
    ]


def threshold(version: str, value: float, day: int, method: str = "conformal", **changes: Any) -> Row:
    """A threshold; the database numbers them."""
    return {
        "model_version": version, "value": value, "target_false_alarm_rate": 0.05, "rank": 19, "num_normal": 19,
        "created_at": at(day), "method": method, "num_defective": 0, "author": "", "note": "", **changes,
    }  # fmt: skip


def score(member: Row, version: str, value: float, **changes: Any) -> Row:
    """How a model judged an image: flagged if above the threshold that is in force now."""
    scored_with, in_force = THRESHOLDS_OF[version]
    return {
        "batch_key": member["batch_key"], "image_id": member["image_id"], "model_version": version,
        "name": member["name"], "score": value, "p_value": 0.0625, "threshold_id": scored_with,
        "is_anomalous": value > in_force, "regions": REGIONS if value > in_force else [],
        "map_uri": f"maps/{member['batch_key']}/{member['name']}-v{version[-1]}.png", "run_id": digest(version)[:32],
        "dag_run_id": "scheduled__2026-01-30", "scored_at": at(30) + timedelta(hours=int(version[-1])),
        "code": LATENT, **changes,
    }  # fmt: skip


def event(kind: str, change: tuple[str, str], thresholds: tuple[int | None, int], day: int, **changes: Any) -> Row:
    """A row of the ledger; `change` and `thresholds` are from and to."""
    return {
        "line": _line_of(change[1]), "from_version": change[0], "to_version": change[1],
        "reasons": ["ok: all figures are finite"], "author": "cae", "decided_at": at(day), "event": kind,
        "from_threshold_id": thresholds[0], "to_threshold_id": thresholds[1],
        "figures": {"challenger": {"synthetic_auroc": 0.875}}, "note": "", "dag_run_id": "", **changes,
    }  # fmt: skip


def verdict(picture: str, word: str, author: str, day: int, note: str = "") -> Row:
    """What a person said of a picture."""
    return {"image_id": digest(picture), "verdict": word, "author": author, "note": note, "created_at": at(day)}


def drift_report(version: str, day: int, diagnosis: str, *reasons: str) -> Row:
    """What was found when a night was compared with what its champion was trained on."""
    shift = {
        "measure": "brightness", "distance": 0.5, "p_value": 0.001, "then": [0.5, 0.5], "now": [0.0, 1.0],
        "low": 0.0, "high": 1.0,
    }  # fmt: skip
    return {
        "line": _line_of(version), "night": date(2026, 1, day), "model_version": version,
        "num_images": 40, "shifts": [shift], "has_drifted": diagnosis != "none", "watched_at": at(day, 23),
        "diagnosis": diagnosis, "reasons": list(reasons),
    }  # fmt: skip


def retraining(line: str, trigger: str, reason: str, day: int) -> Row:
    """A training that was asked for."""
    return {"line": line, "trigger": trigger, "reason": reason, "dag_run_id": "scheduled", "asked_at": at(day)}


def alert(kind: str, line: str, day: int, *, attempts: int, delivered: bool) -> Row:
    """Something to tell, delivered or not."""
    return {
        "alert_key": digest(f"{kind} {line} {day}"), "kind": kind, "line": line, "night": date(2026, 1, day),
        "message": f"{kind} of {line}", "raised_at": at(day, 22), "delivered_at": at(day, 23) if delivered else None,
        "num_attempts": attempts,
    }  # fmt: skip


def _line_of(version: str) -> str:
    return version.removeprefix("cae-").partition("/")[0]
