"""The first tables and views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "batches",
        sa.Column("batch_key", sa.String(length=32), nullable=False),
        sa.Column("line", sa.String(length=255), nullable=False),
        sa.Column("batch_id", sa.String(length=255), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("num_quarantined", sa.Integer(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("rejected_for", sa.Text(), nullable=False),
        sa.Column("data_docs_uri", sa.Text(), nullable=False),
        sa.Column("dag_run_id", sa.String(length=255), nullable=False),
        sa.Column("validated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('validated', 'rejected', 'scored')", name="batch_status"),
        sa.PrimaryKeyConstraint("batch_key"),
        sa.UniqueConstraint("line", "batch_id", "manifest_sha256"),
    )
    op.create_index("batches_by_line_and_night", "batches", ["line", "night"], unique=False)
    op.create_table(
        "model_versions",
        sa.Column("model_version", sa.String(length=255), nullable=False),
        sa.Column("line", sa.String(length=255), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=255), nullable=False),
        sa.Column("artefact_uri", sa.Text(), nullable=False),
        sa.Column("artefact_sha256", sa.String(length=64), nullable=False),
        sa.Column("snapshot_sha256", sa.String(length=64), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model_version"),
        sa.UniqueConstraint("line", "version"),
    )
    op.create_table(
        "verdicts",
        sa.Column("verdict_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("image_id", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('defect', 'normal', 'unsure')", name="verdict_word"),
        sa.PrimaryKeyConstraint("verdict_id"),
    )
    op.create_index("verdicts_by_image", "verdicts", ["image_id"], unique=False)
    op.create_table(
        "drift_reports",
        sa.Column("line", sa.String(length=255), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("model_version", sa.String(length=255), nullable=False),
        sa.Column("num_images", sa.Integer(), nullable=False),
        sa.Column("shifts", sa.JSON(), nullable=False),
        sa.Column("has_drifted", sa.Boolean(), nullable=False),
        sa.Column("watched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version"],
            ["model_versions.model_version"],
        ),
        sa.PrimaryKeyConstraint("line", "night", "model_version"),
    )
    op.create_table(
        "images",
        sa.Column("batch_key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("image_id", sa.String(length=64), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("duplicate_of", sa.String(length=64), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=True),
        sa.Column("height_px", sa.Integer(), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=True),
        sa.Column("brightness", sa.Float(), nullable=True),
        sa.Column("contrast", sa.Float(), nullable=True),
        sa.Column("sharpness", sa.Float(), nullable=True),
        sa.Column("entropy", sa.Float(), nullable=True),
        sa.Column("difference_hash", sa.String(length=64), nullable=True),
        sa.CheckConstraint("(status = 'accepted') = (reason = '')", name="reason_iff_not_accepted"),
        sa.CheckConstraint("status IN ('accepted', 'quarantined', 'failed')", name="image_status"),
        sa.ForeignKeyConstraint(
            ["batch_key"],
            ["batches.batch_key"],
        ),
        sa.PrimaryKeyConstraint("batch_key", "name"),
    )
    op.create_index("images_by_id", "images", ["image_id"], unique=False)
    op.create_table(
        "promotions",
        sa.Column("promotion_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("line", sa.String(length=255), nullable=False),
        sa.Column("from_version", sa.String(length=255), nullable=False),
        sa.Column("to_version", sa.String(length=255), nullable=False),
        sa.Column("promoted", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["to_version"],
            ["model_versions.model_version"],
        ),
        sa.PrimaryKeyConstraint("promotion_id"),
    )
    op.create_table(
        "thresholds",
        sa.Column("threshold_id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("model_version", sa.String(length=255), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("target_false_alarm_rate", sa.Float(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("num_normal", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("value >= 0 AND value <= 1e+300", name="threshold_is_finite"),
        sa.ForeignKeyConstraint(
            ["model_version"],
            ["model_versions.model_version"],
        ),
        sa.PrimaryKeyConstraint("threshold_id"),
    )
    op.create_table(
        "champions",
        sa.Column("line", sa.String(length=255), nullable=False),
        sa.Column("model_version", sa.String(length=255), nullable=False),
        sa.Column("threshold_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version"],
            ["model_versions.model_version"],
        ),
        sa.ForeignKeyConstraint(
            ["threshold_id"],
            ["thresholds.threshold_id"],
        ),
        sa.PrimaryKeyConstraint("line"),
    )
    op.create_table(
        "releases",
        sa.Column("batch_key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_key", "name"],
            ["images.batch_key", "images.name"],
        ),
        sa.PrimaryKeyConstraint("batch_key", "name"),
    )
    op.create_table(
        "scores",
        sa.Column("batch_key", sa.String(length=32), nullable=False),
        sa.Column("image_id", sa.String(length=64), nullable=False),
        sa.Column("model_version", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=False),
        sa.Column("threshold_id", sa.Integer(), nullable=False),
        sa.Column("is_anomalous", sa.Boolean(), nullable=False),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("map_uri", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(length=255), nullable=False),
        sa.Column("dag_run_id", sa.String(length=255), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("p_value > 0 AND p_value <= 1", name="p_value_in_range"),
        sa.CheckConstraint("score >= 0 AND score <= 1e+300", name="score_is_finite"),
        sa.ForeignKeyConstraint(
            ["batch_key"],
            ["batches.batch_key"],
        ),
        sa.ForeignKeyConstraint(
            ["model_version"],
            ["model_versions.model_version"],
        ),
        sa.ForeignKeyConstraint(
            ["threshold_id"],
            ["thresholds.threshold_id"],
        ),
        sa.PrimaryKeyConstraint("batch_key", "image_id", "model_version"),
    )
    op.create_index("scores_by_image", "scores", ["image_id"], unique=False)
    op.create_table(
        "snapshots",
        sa.Column("model_version", sa.String(length=255), nullable=False),
        sa.Column("batch_key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.CheckConstraint("part IN ('train', 'validation', 'calibration')", name="snapshot_part"),
        sa.ForeignKeyConstraint(
            ["batch_key", "name"],
            ["images.batch_key", "images.name"],
        ),
        sa.ForeignKeyConstraint(
            ["model_version"],
            ["model_versions.model_version"],
        ),
        sa.PrimaryKeyConstraint("model_version", "batch_key", "name"),
    )
    op.execute(
        """CREATE VIEW anomalies AS
        SELECT batches.line, batches.batch_id, batches.night, scores.name, scores.image_id, scores.score,
               scores.p_value, thresholds.value AS threshold, scores.model_version,
               COALESCE((SELECT verdict FROM verdicts WHERE verdicts.image_id = scores.image_id
                         ORDER BY verdict_id DESC LIMIT 1), '') AS verdict,
               CASE WHEN EXISTS (SELECT 1 FROM scores AS later WHERE later.batch_key = scores.batch_key
                                 AND later.image_id = scores.image_id AND later.scored_at > scores.scored_at)
                    THEN 0 ELSE 1 END AS is_latest,
               scores.regions, scores.map_uri, scores.run_id, scores.dag_run_id, scores.scored_at
        FROM scores
        JOIN batches ON batches.batch_key = scores.batch_key
        JOIN thresholds ON thresholds.threshold_id = scores.threshold_id
        WHERE scores.is_anomalous
        """
    )
    op.execute(
        """CREATE VIEW daily_rates AS
        SELECT batches.line, batches.night, COUNT(*) AS num_images,
               SUM(CASE WHEN images.status = 'quarantined' AND releases.name IS NULL THEN 1 ELSE 0 END)
                   AS num_quarantined,
               SUM(CASE WHEN images.status = 'failed' THEN 1 ELSE 0 END) AS num_failed,
               SUM(CASE WHEN latest.is_anomalous IS NULL THEN 0 ELSE 1 END) AS num_scored,
               SUM(CASE WHEN latest.is_anomalous THEN 1 ELSE 0 END) AS num_flagged,
               SUM(CASE WHEN latest.is_anomalous AND
                   (SELECT verdict FROM verdicts WHERE verdicts.image_id = images.image_id
                    ORDER BY verdict_id DESC LIMIT 1) = 'defect' THEN 1 ELSE 0 END) AS num_confirmed
        FROM images
        JOIN batches ON batches.batch_key = images.batch_key
        LEFT JOIN releases ON releases.batch_key = images.batch_key AND releases.name = images.name
        LEFT JOIN scores AS latest ON latest.batch_key = images.batch_key AND latest.name = images.name
             AND NOT EXISTS (SELECT 1 FROM scores AS later WHERE later.batch_key = latest.batch_key
                             AND later.image_id = latest.image_id AND later.scored_at > latest.scored_at)
        GROUP BY batches.line, batches.night
        """
    )
