"""A million rows in SQLite and PostgreSQL, and whether the queries people ask use an index."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results import models, queries, scored
from cae_pipeline.adapters.results.database import open_database
from cae_pipeline.adapters.results.ledger import Stamp
from cae_pipeline.adapters.results.queries import AnomalyFilter, Page
from cae_pipeline.adapters.results.schema import batches, images, model_versions, thresholds
from cae_pipeline.adapters.results.thresholds import change_threshold
from cae_pipeline.statistics.conformal import Threshold

PER_TRANSACTION = 128
PER_BATCH = 10_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def load(url: str, count: int) -> dict[str, Any]:
    """Write so many scores as scoring does, 128 per transaction, then ask what people ask.

    Returns:
        Rows per second in all, over the first and over the last tenth; milliseconds and plan of each query; seconds
        to judge all rows again by a threshold that flags a tenth more of them, and by one that flags all.
    """
    engine = open_database(url)
    try:
        _prepare(engine, count)
        tenth = count // 10
        seconds = [_write(engine, start, min(tenth, count - start)) for start in range(0, count, tenth)]
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
        return {
            "rows_per_second_first_tenth": tenth / seconds[0],
            "rows_per_second_last_tenth": tenth / seconds[-1],
            "rows_per_second": count / sum(seconds),
            "queries": {name: _ask(engine, name) for name in _QUESTIONS},
            "rejudge_seconds_tenth": _rejudge(engine, 0.8),
            "rejudge_seconds_all": _rejudge(engine, 0.05),
        }
    finally:
        engine.dispose()


def _rejudge(engine: sa.Engine, threshold: float) -> float:
    """Seconds of a change of threshold, all scores of the model version judged again."""
    version = models.find_version(engine, "cae-mono/1")
    started = time.perf_counter()
    change_threshold(engine, version, Threshold(threshold, 0.05, 1, 19), Stamp("bench", NOW), figures={})
    return time.perf_counter() - started


_QUESTIONS = {
    "anomalies of a night": AnomalyFilter(line="mono", since=date(2026, 1, 20), until=date(2026, 1, 20)),
    "worst anomalies of a line": AnomalyFilter(line="mono"),
    "anomalies of one batch": AnomalyFilter(line="mono", batch_id="b19"),
    "what nobody has judged yet": AnomalyFilter(line="mono", verdict="none"),
}


def _ask(engine: sa.Engine, name: str) -> dict[str, Any]:
    said: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        said.append(statement)
        values.append(parameters)

    values: list[Any] = []
    sa.event.listen(engine, "before_cursor_execute", listen)
    started = time.perf_counter()
    queries.list_anomalies(engine, _QUESTIONS[name], Page("-score"))
    milliseconds = (time.perf_counter() - started) * 1000
    sa.event.remove(engine, "before_cursor_execute", listen)
    word = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{word} {said[-1]}", values[-1]).all()
    return {"milliseconds": milliseconds, "plan": [str(row[-1]) for row in rows]}


def _prepare(engine: sa.Engine, count: int) -> None:
    version = {
        "model_version": "cae-mono/1", "line": "mono", "version": 1, "run_id": "r", "artefact_uri": "u",
        "artefact_sha256": "0" * 64, "snapshot_sha256": "0" * 64, "figures": {}, "registered_at": NOW,
    }  # fmt: skip
    threshold = {
        "model_version": "cae-mono/1", "value": 1.0, "target_false_alarm_rate": 0.05,
        "rank": 1, "num_normal": 19, "created_at": NOW,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(sa.insert(model_versions), [version])
        connection.execute(sa.insert(thresholds), [threshold])
        for number in range(-(-count // PER_BATCH)):
            row = {
                "batch_key": _key(number), "line": "mono", "batch_id": f"b{number}",
                "manifest_sha256": f"{number:064x}",
                "night": date(2026, 1, 1) + timedelta(days=number), "status": "scored", "num_images": PER_BATCH,
                "num_quarantined": 0, "num_bytes": 0, "validated_at": NOW,
            }  # fmt: skip
            connection.execute(sa.insert(batches), [row])
            members = range(number * PER_BATCH, min(count, (number + 1) * PER_BATCH))
            connection.execute(sa.insert(images), [_image(number, member) for member in members])


def _write(engine: sa.Engine, start: int, count: int) -> float:
    began = time.perf_counter()
    for first in range(start, start + count, PER_TRANSACTION):
        scored.record_scores(engine, [_score(n) for n in range(first, min(first + PER_TRANSACTION, start + count))])
    return time.perf_counter() - began


def _image(batch: int, member: int) -> dict[str, Any]:
    return {
        "batch_key": _key(batch), "name": f"{member:09}.png", "image_id": f"{member:064x}", "num_bytes": 1,
        "status": "accepted", "width_px": 512, "height_px": 512, "mode": "RGB", "brightness": 0.5, "contrast": 0.1,
        "sharpness": 1.0, "entropy": 5.0, "difference_hash": f"{member:064x}",
    }  # fmt: skip


def _score(member: int) -> dict[str, Any]:
    flagged = member % 50 == 0
    score = 1.5 + member % 97 if flagged else 0.1 + member % 79 / 100
    place = {"x_px": 10, "y_px": 20, "width_px": 30, "height_px": 40, "area_px": 900, "peak": 2.0}
    return {
        "batch_key": _key(member // PER_BATCH), "image_id": f"{member:064x}", "model_version": "cae-mono/1",
        "name": f"{member:09}.png", "score": score, "p_value": 0.5, "threshold_id": 1,
        "is_anomalous": flagged, "regions": [place] if flagged else [], "run_id": "r", "dag_run_id": "d",
        "map_uri": f"maps/mono/{_key(member // PER_BATCH)}/{member:032x}-v1.png", "scored_at": NOW,
        "code": bytes(128),
    }  # fmt: skip


def _key(batch: int) -> str:
    return f"{batch:032x}"
