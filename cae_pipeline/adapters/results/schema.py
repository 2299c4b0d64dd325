"""The tables. Files are facts, tables are truth.

Every column is named in `docs/results.md`, which a test holds against this file. The views that people query stand in
`views.py`.
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


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> sa.Index:
    """An index of some rows alone, on both databases."""
    condition = sa.text(where)
    return sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


batches = sa.Table(
    "batches",
    metadata,
    Column("batch_key", KEY, primary_key=True),  # digest of line and batch_id
    Column("line", NAME, nullable=False),
    Column("batch_id", NAME, nullable=False),
    Column("night", sa.Date, nullable=False),  # the date it counts under, in the time zone of its line
    sa.UniqueConstraint("line", "batch_id"),
    sa.Index("batches_by_line_and_night", "line", "night"),
    sa.Index("batches_by_night", "night"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    Column("delivery_key", KEY, primary_key=True),  # digest of line, batch_id and manifest
    Column("batch_key", KEY, ForeignKey(batches.c.batch_key), nullable=False),
    Column("manifest_sha256", DIGEST, nullable=False),
    Column("is_in_force", sa.Boolean, nullable=False),  # the newest one counts, earlier ones are history
    Column("status", sa.String(16), nullable=False),  # validated, rejected, scored
    Column("number", sa.Integer, nullable=False, server_default="0"),  # how often the same content was validated before
    Column("num_images", sa.Integer, nullable=False),
    Column("num_quarantined", sa.Integer, nullable=False),
    Column("num_bytes", sa.BigInteger, nullable=False),
    Column("limits", sa.JSON, nullable=False),  # what its images were held against; empty in early rows
    Column("rejected_for", sa.Text, nullable=False, default=""),  # expectation, seen, wanted
    Column("data_docs_uri", sa.Text, nullable=False, default=""),
    Column("dag_run_id", NAME, nullable=False, default=""),
    Column("listed_at", UtcDateTime, nullable=False),  # what is written later belongs to a later delivery
    Column("validated_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("reported_night", sa.Date),  # the night whose report tells of it; null where none does yet
    Column("reported_at", UtcDateTime),
    sa.CheckConstraint("status IN ('validated', 'rejected', 'scored')", name="delivery_status"),
    sa.Index("deliveries_by_batch", "batch_key"),
    sa.Index("deliveries_by_report", "reported_night"),
    # finished anew, as after a release: the report that tells of them is made again
    _partial("stale_reports", "reported_night", where="finished_at > reported_at"),
    _partial("unreported", "batch_key", where="is_in_force AND reported_night IS NULL"),
    _partial("one_delivery_in_force", "batch_key", where="is_in_force", unique=True),
)

images = sa.Table(
    "images",
    metadata,
    Column("delivery_key", KEY, ForeignKey(deliveries.c.delivery_key), primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("image_id", DIGEST, nullable=False),  # sha256 of the bytes; empty if missing
    Column("num_bytes", sa.BigInteger, nullable=False),
    Column("status", sa.String(16), nullable=False),  # accepted, quarantined
    Column(
        "reason", sa.String(32), nullable=False, default=""
    ),  # why quarantined, or what is odd about an accepted one
    Column("detail", sa.Text, nullable=False, default=""),
    Column("duplicate_of", DIGEST, nullable=False, default=""),
    *(Column(name, _column_type(name)) for name in FACTS),  # null where the file could not be decoded
    sa.CheckConstraint("status IN ('accepted', 'quarantined')", name="image_status"),
    sa.CheckConstraint("status = 'accepted' OR reason <> ''", name="quarantined_has_a_reason"),
    sa.Index("images_by_id", "image_id"),
    _partial("quarantined_images", "delivery_key", where="status = 'quarantined'"),
    # out of limits, or almost the same as an earlier one; scored all the same
    _partial("odd_images", "delivery_key", "name", where="status = 'accepted' AND reason <> ''"),
)

releases = sa.Table(
    "releases",
    metadata,
    Column("delivery_key", KEY, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("reason", sa.String(32), nullable=False),  # what it had been quarantined for
    Column("author", NAME, nullable=False),
    Column("note", sa.Text, nullable=False, default=""),
    Column("released_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(["delivery_key", "name"], [images.c.delivery_key, images.c.name]),
)

model_versions = sa.Table(
    "model_versions",
    metadata,
    Column("model_version", NAME, primary_key=True),  # such as cae-mono/3
    Column("line", NAME, nullable=False),
    Column("version", sa.Integer, nullable=False),  # MLflow's number
    Column("state", sa.String(16), nullable=False),  # ModelState
    Column("run_id", NAME, nullable=False),
    Column("artefact_uri", sa.Text, nullable=False),
    Column("artefact_sha256", DIGEST, nullable=False),
    Column("snapshot_sha256", DIGEST, nullable=False),  # digest of what it was trained on
    Column("figures", sa.JSON, nullable=False),
    Column("registered_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("line", "version"),
    sa.CheckConstraint(
        "state IN ('candidate', 'refused', 'awaiting', 'declined', 'expired', 'promoted', 'superseded', 'rolled_back')",
        name="model_state",
    ),
    _partial("one_champion", "line", where="state = 'promoted'", unique=True),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    Column("model_version", NAME, ForeignKey(model_versions.c.model_version), primary_key=True),
    Column("delivery_key", KEY, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("part", sa.String(16), nullable=False),  # train, validation, calibration
    sa.CheckConstraint("part IN ('train', 'validation', 'calibration')", name="snapshot_part"),
    sa.ForeignKeyConstraint(["delivery_key", "name"], [images.c.delivery_key, images.c.name]),
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
    sa.Index("thresholds_by_version", "model_version", "threshold_id"),
)

judgements = sa.Table(
    "judgements",
    metadata,
    Column("delivery_key", KEY, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("model_version", NAME, ForeignKey(model_versions.c.model_version), primary_key=True),
    Column("image_id", DIGEST, nullable=False),
    Column("outcome", sa.String(8), nullable=False),  # scored, failed
    Column("reason", sa.String(32), nullable=False, default=""),  # why it failed
    Column("detail", sa.Text, nullable=False, default=""),
    Column("score", sa.Float),  # held against the threshold in force when somebody looks
    Column("p_value", sa.Float),
    Column("regions", sa.JSON, nullable=False),  # boxes, areas and peaks in delivered pixels
    Column("map_uri", sa.Text, nullable=False, default=""),
    Column("map_unit", sa.Float),  # the score that 1.0 in the map stands for
    Column("latent", sa.LargeBinary),  # narrow middle of the autoencoder, little-endian float16
    Column("is_current", sa.Boolean, nullable=False),  # how the image was judged last, in the delivery in force
    Column("dag_run_id", NAME, nullable=False, default=""),
    Column("judged_at", UtcDateTime, nullable=False),
    sa.ForeignKeyConstraint(["delivery_key", "name"], [images.c.delivery_key, images.c.name]),
    sa.CheckConstraint("outcome IN ('scored', 'failed')", name="judgement_outcome"),
    sa.CheckConstraint("(outcome = 'failed') = (reason <> '')", name="reason_iff_failed"),
    sa.CheckConstraint(
        "(outcome = 'scored') = (score IS NOT NULL AND p_value IS NOT NULL AND map_unit IS NOT NULL)",
        name="scored_has_a_score",
    ),
    sa.CheckConstraint(f"score >= 0 AND score <= {MAX_FINITE}", name="score_is_finite"),
    sa.CheckConstraint("p_value > 0 AND p_value <= 1", name="p_value_in_range"),
    sa.CheckConstraint(f"map_unit > 0 AND map_unit <= {MAX_FINITE}", name="map_unit_is_finite"),
    sa.Index("judgements_by_image", "image_id"),
    # a night's counts, and the flagged images of a night or batch
    _partial("current_judgements", "delivery_key", "model_version", "score", where="is_current"),
    # the worst images of a model version, and those nearest to its threshold
    sa.Index("scores_of_version", "model_version", "score", "is_current"),
    _partial("failed_judgements", "delivery_key", where="is_current AND outcome = 'failed'"),
)

# written as the indexes of some rows alone have them: else SQLite does not see that they answer a question
IS_CURRENT: sa.ColumnElement[bool] = sa.literal_column("judgements.is_current")
HAS_FAILED: sa.ColumnElement[bool] = sa.literal_column("judgements.outcome = 'failed'")
IS_QUARANTINED: sa.ColumnElement[bool] = sa.literal_column("images.status = 'quarantined'")
IS_ODD: sa.ColumnElement[bool] = sa.literal_column("images.status = 'accepted' AND images.reason <> ''")

ledger = sa.Table(
    "ledger",
    metadata,
    Column("entry_id", sa.Integer, primary_key=True, autoincrement=True),
    Column("line", NAME, nullable=False),
    Column("event", sa.String(16), nullable=False),  # Event
    Column("from_version", NAME, nullable=False, default=""),
    Column("to_version", NAME, ForeignKey(model_versions.c.model_version), nullable=False),
    Column("from_threshold_id", sa.Integer),
    Column("to_threshold_id", sa.Integer),
    Column("decision_id", sa.Integer),  # the entry of the gate's decision that a person has answered
    Column("reasons", sa.JSON, nullable=False),
    Column("figures", sa.JSON, nullable=False),
    Column("author", NAME, nullable=False),
    Column("note", sa.Text, nullable=False, default=""),
    Column("dag_run_id", NAME, nullable=False, default=""),
    Column("decided_at", UtcDateTime, nullable=False),
    sa.Index("ledger_by_line", "line", "entry_id"),
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
    _partial("waiting_alerts", "raised_at", where="delivered_at IS NULL"),
)
