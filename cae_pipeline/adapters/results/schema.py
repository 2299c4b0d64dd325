"""The tables. Files are facts, tables are truth.

Every column is named in `docs/results.md`, which a test holds against this file.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ForeignKey

from cae_pipeline.domain.facts import FACT_TYPES, FACTS

metadata = sa.MetaData()


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware time, kept as UTC; SQLite has no time zones of its own."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse naive times, turn others to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected an aware time, received {value!r}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Say that what was stored is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


KEY, DIGEST, NAME = sa.String(32), sa.String(64), sa.String(255)
MAX_FINITE = 1e300
"""SQLite stores NaN as NULL and PostgreSQL sorts it above all numbers: NOT NULL and this bound refuse both."""


def _column_type(fact: str) -> sa.types.TypeEngine[Any]:
    if FACT_TYPES[fact] is str:
        return sa.String(FACTS[fact].max_length)
    return sa.Integer() if FACT_TYPES[fact] is int else sa.Float()


batches = sa.Table(
    "batches",
    metadata,
    Column("batch_key", KEY, primary_key=True),  # digest of line, batch_id and manifest
    Column("line", NAME, nullable=False),
    Column("batch_id", NAME, nullable=False),
    Column("night", sa.Date, nullable=False),  # UTC date of the run that is due to look at it
    Column("manifest_sha256", DIGEST, nullable=False),
    Column("status", sa.String(16), nullable=False),  # validated, rejected, scored
    Column("num_images", sa.Integer, nullable=False),
    Column("num_quarantined", sa.Integer, nullable=False),
    Column("num_bytes", sa.BigInteger, nullable=False),
    Column("rejected_for", sa.Text, nullable=False, default=""),  # expectation, seen, wanted
    Column("data_docs_uri", sa.Text, nullable=False, default=""),
    Column("dag_run_id", NAME, nullable=False, default=""),
    Column("validated_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    sa.UniqueConstraint("line", "batch_id", "manifest_sha256"),
    sa.CheckConstraint("status IN ('validated', 'rejected', 'scored')", name="batch_status"),
    sa.Index("batches_by_line_and_night", "line", "night"),
)

images = sa.Table(
    "images",
    metadata,
    Column("batch_key", KEY, ForeignKey(batches.c.batch_key), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("image_id", DIGEST, nullable=False),  # sha256 of the bytes; empty if missing
    Column("num_bytes", sa.BigInteger, nullable=False),
    Column("status", sa.String(16), nullable=False),  # accepted, quarantined, failed
    Column("reason", sa.String(32), nullable=False, default=""),
    Column("detail", sa.Text, nullable=False, default=""),
    Column("duplicate_of", DIGEST, nullable=False, default=""),
    *(Column(name, _column_type(name)) for name in FACTS),  # null where the file could not be decoded
    sa.CheckConstraint("status IN ('accepted', 'quarantined', 'failed')", name="image_status"),
    sa.CheckConstraint("(status = 'accepted') = (reason = '')", name="reason_iff_not_accepted"),
    sa.Index("images_by_id", "image_id"),
)

releases = sa.Table(
    "releases",
    metadata,
    Column("batch_key", KEY, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("reason", sa.String(32), nullable=False),  # what it had been quarantined for
    Column("author", NAME, nullable=False),
    Column("note", sa.Text, nullable=False, default=""),
    Column("released_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(["batch_key", "name"], [images.c.batch_key, images.c.name]),
)

model_versions = sa.Table(
    "model_versions",
    metadata,
    Column("model_version", NAME, primary_key=True),  # such as cae-mono/3
    Column("line", NAME, nullable=False),
    Column("version", sa.Integer, nullable=False),  # MLflow's number
    Column("run_id", NAME, nullable=False),
    Column("artefact_uri", sa.Text, nullable=False),
    Column("artefact_sha256", DIGEST, nullable=False),
    Column("snapshot_sha256", DIGEST, nullable=False),  # digest of what it was trained on
    Column("figures", sa.JSON, nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("line", "version"),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    Column("model_version", NAME, ForeignKey(model_versions.c.model_version), primary_key=True),
    Column("batch_key", KEY, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("part", sa.String(16), nullable=False),  # train, validation, calibration
    sa.CheckConstraint("part IN ('train', 'validation', 'calibration')", name="snapshot_part"),
    sa.ForeignKeyConstraint(["batch_key", "name"], [images.c.batch_key, images.c.name]),
)

thresholds = sa.Table(
    "thresholds",
    metadata,
    Column("threshold_id", sa.Integer, primary_key=True, autoincrement=True),
    Column("model_version", NAME, ForeignKey(model_versions.c.model_version), nullable=False),
    Column("value", sa.Float, nullable=False),
    Column("target_false_alarm_rate", sa.Float, nullable=False),
    Column("rank", sa.Integer, nullable=False),
    Column("num_normal", sa.Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("method", sa.String(16), nullable=False, server_default="conformal"),  # f1, cost, given
    Column("num_defective", sa.Integer, nullable=False, server_default="0"),
    Column("author", NAME, nullable=False, server_default=""),
    Column("note", sa.Text, nullable=False, server_default=""),
    sa.CheckConstraint(f"value >= 0 AND value <= {MAX_FINITE}", name="threshold_is_finite"),
)

scores = sa.Table(
    "scores",
    metadata,
    Column("batch_key", KEY, ForeignKey(batches.c.batch_key), primary_key=True),
    Column("image_id", DIGEST, primary_key=True),
    Column("model_version", NAME, ForeignKey(model_versions.c.model_version), primary_key=True),
    Column("name", NAME, nullable=False),
    Column("score", sa.Float, nullable=False),
    Column("p_value", sa.Float, nullable=False),
    Column("threshold_id", sa.Integer, ForeignKey(thresholds.c.threshold_id), nullable=False),  # its map's unit
    Column("is_anomalous", sa.Boolean, nullable=False),  # by the threshold in force
    Column("regions", sa.JSON, nullable=False),  # boxes, areas and peaks in delivered pixels
    Column("map_uri", sa.Text, nullable=False),
    Column("run_id", NAME, nullable=False),  # MLflow run that trained the model
    Column("dag_run_id", NAME, nullable=False, default=""),
    Column("scored_at", UtcDateTime, nullable=False),
    Column("code", sa.LargeBinary),  # narrow middle of the autoencoder, little-endian float16
    sa.CheckConstraint(f"score >= 0 AND score <= {MAX_FINITE}", name="score_is_finite"),
    sa.CheckConstraint("p_value > 0 AND p_value <= 1", name="p_value_in_range"),
    sa.Index("scores_by_image", "image_id"),
    # what people ask for is a few in a hundred
    sa.Index(
        "flagged_scores",
        "batch_key",
        "score",
        sqlite_where=sa.text("is_anomalous"),
        postgresql_where=sa.text("is_anomalous"),
    ),
)

champions = sa.Table(
    "champions",
    metadata,
    Column("line", NAME, primary_key=True),
    Column("model_version", NAME, ForeignKey(model_versions.c.model_version), nullable=False),
    Column("threshold_id", sa.Integer, ForeignKey(thresholds.c.threshold_id), nullable=False),
)

promotions = sa.Table(
    "promotions",
    metadata,
    Column("promotion_id", sa.Integer, primary_key=True, autoincrement=True),
    Column("line", NAME, nullable=False),
    Column("from_version", NAME, nullable=False, default=""),
    Column("to_version", NAME, ForeignKey(model_versions.c.model_version), nullable=False),
    Column("reasons", sa.JSON, nullable=False),
    Column("author", NAME, nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("event", sa.String(16), nullable=False, server_default="promotion"),  # Event
    Column("from_threshold_id", sa.Integer),
    Column("to_threshold_id", sa.Integer),
    Column("figures", sa.JSON, nullable=False, server_default="{}"),
    Column("note", sa.Text, nullable=False, server_default=""),
    Column("dag_run_id", NAME, nullable=False, server_default=""),
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    Column("verdict_id", sa.Integer, primary_key=True, autoincrement=True),
    Column("image_id", DIGEST, nullable=False),
    Column("verdict", sa.String(8), nullable=False),  # defect, normal, unsure
    Column("author", NAME, nullable=False),
    Column("note", sa.Text, nullable=False, default=""),
    Column("created_at", UtcDateTime, nullable=False),
    sa.CheckConstraint("verdict IN ('defect', 'normal', 'unsure')", name="verdict_word"),
    sa.Index("verdicts_by_image", "image_id"),
    # the same said again, as by importing a file twice
    sa.Index("verdicts_once", "image_id", "author", "created_at", unique=True),
)

drift_reports = sa.Table(
    "drift_reports",
    metadata,
    Column("line", NAME, primary_key=True),
    Column("night", sa.Date, primary_key=True),
    Column("model_version", NAME, ForeignKey(model_versions.c.model_version), primary_key=True),
    Column("num_images", sa.Integer, nullable=False),
    Column("shifts", sa.JSON, nullable=False),  # measure, distance, p_value, has_moved
    Column("has_drifted", sa.Boolean, nullable=False),
    Column("watched_at", UtcDateTime, nullable=False),
    Column("diagnosis", sa.String(16), nullable=False, server_default="none"),  # Diagnosis
    Column("reasons", sa.JSON, nullable=False, server_default="[]"),
)

retrainings = sa.Table(
    "retrainings",
    metadata,
    Column("retraining_id", sa.Integer, primary_key=True, autoincrement=True),
    Column("line", NAME, nullable=False),
    Column("trigger", sa.String(16), nullable=False),  # drift, verdicts
    Column("reason", sa.Text, nullable=False),
    Column("dag_run_id", NAME, nullable=False, default=""),
    Column("asked_at", UtcDateTime, nullable=False),
    sa.Index("retrainings_by_line", "line", "asked_at"),
)

alerts = sa.Table(
    "alerts",
    metadata,
    Column("alert_key", DIGEST, primary_key=True),  # digest of kind, line, night and what it is about
    Column("kind", sa.String(32), nullable=False),
    Column("line", NAME, nullable=False),
    Column("night", sa.Date, nullable=False),
    Column("message", sa.Text, nullable=False),
    Column("raised_at", UtcDateTime, nullable=False),
    Column("delivered_at", UtcDateTime),
    Column("num_attempts", sa.Integer, nullable=False, default=0),
)

VIEWS = {
    # flagged images, with the latest verdict; is_latest is 0 where a later scoring replaced this one
    "anomalies": """
        SELECT batches.line, batches.batch_id, batches.night, scores.name, scores.image_id, scores.score,
               scores.p_value,
               (SELECT value FROM thresholds WHERE thresholds.model_version = scores.model_version
                ORDER BY threshold_id DESC LIMIT 1) AS threshold,
               scores.model_version,
               COALESCE((SELECT verdict FROM verdicts WHERE verdicts.image_id = scores.image_id
                         ORDER BY verdict_id DESC LIMIT 1), '') AS verdict,
               CASE WHEN EXISTS (SELECT 1 FROM scores AS later WHERE later.batch_key = scores.batch_key
                                 AND later.image_id = scores.image_id AND later.scored_at > scores.scored_at)
                    THEN 0 ELSE 1 END AS is_latest,
               scores.regions, scores.map_uri, scores.run_id, scores.dag_run_id, scores.scored_at
        FROM scores
        JOIN batches ON batches.batch_key = scores.batch_key
        WHERE scores.is_anomalous
    """,
    # what a line's nights looked like, one row per line and night
    "daily_rates": """
        SELECT batches.line, batches.night, COUNT(*) AS num_images,
               SUM(CASE WHEN images.status = 'quarantined' AND releases.name IS NULL THEN 1 ELSE 0 END)
                   AS num_quarantined,
               SUM(CASE WHEN images.status = 'failed' THEN 1 ELSE 0 END) AS num_failed,
               SUM(CASE WHEN latest.is_anomalous IS NULL THEN 0 ELSE 1 END) AS num_scored,
               SUM(CASE WHEN latest.is_anomalous THEN 1 ELSE 0 END) AS num_flagged,
               SUM(CASE WHEN latest.is_anomalous AND
                   (SELECT verdict FROM verdicts WHERE verdicts.image_id = images.image_id
                    ORDER BY verdict_id DESC LIMIT 1) = 'defect' THEN 1 ELSE 0 END) AS num_confirmed,
               SUM(CASE WHEN latest.is_anomalous AND
                   (SELECT verdict FROM verdicts WHERE verdicts.image_id = images.image_id
                    ORDER BY verdict_id DESC LIMIT 1) = 'normal' THEN 1 ELSE 0 END) AS num_false_alarms
        FROM images
        JOIN batches ON batches.batch_key = images.batch_key
        LEFT JOIN releases ON releases.batch_key = images.batch_key AND releases.name = images.name
        LEFT JOIN scores AS latest ON latest.batch_key = images.batch_key AND latest.name = images.name
             AND NOT EXISTS (SELECT 1 FROM scores AS later WHERE later.batch_key = latest.batch_key
                             AND later.image_id = latest.image_id AND later.scored_at > latest.scored_at)
        GROUP BY batches.line, batches.night
    """,
}
