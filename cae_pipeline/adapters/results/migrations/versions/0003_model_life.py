"""A model's life: versioned thresholds, a ledger of every event, codes, diagnoses, retrainings, alerts.

Only columns and tables are added: SQLite rebuilds a whole table for anything else, which the scores
that point at a threshold do not survive.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

VIEWS = {
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


def upgrade() -> None:
    """Add what is new; what was there keeps its meaning."""
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    for table, columns in _new_columns().items():
        for column in columns:
            op.add_column(table, column)
    op.execute("UPDATE promotions SET event = CASE WHEN promoted THEN 'promotion' ELSE 'refusal' END")
    op.drop_column("promotions", "promoted")
    op.create_index("verdicts_once", "verdicts", ["image_id", "author", "created_at"], unique=True)
    op.create_table(
        "retrainings",
        sa.Column("retraining_id", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("line", sa.String(255), nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("dag_run_id", sa.String(255), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("retrainings_by_line", "retrainings", ["line", "asked_at"])
    op.create_table(
        "alerts",
        sa.Column("alert_key", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("line", sa.String(255), nullable=False),
        sa.Column("night", sa.Date(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("num_attempts", sa.Integer(), nullable=False),
    )
    for view, text in VIEWS.items():
        op.execute(f"CREATE VIEW {view} AS {text}")


def _new_columns() -> dict[str, list[sa.Column[object]]]:
    def text(name: str, default: str = "") -> sa.Column[object]:
        return sa.Column(name, sa.Text(), nullable=False, server_default=default)

    def word(name: str, length: int, default: str = "") -> sa.Column[object]:
        return sa.Column(name, sa.String(length), nullable=False, server_default=default)

    def number(name: str) -> sa.Column[object]:
        return sa.Column(name, sa.Integer(), nullable=False, server_default="0")

    return {
        "images": [sa.Column("red_share", sa.Float()), sa.Column("blue_share", sa.Float())],
        "thresholds": [word("method", 16, "conformal"), number("num_defective"), word("author", 255), text("note")],
        "scores": [sa.Column("code", sa.LargeBinary())],
        "promotions": [
            word("event", 16, "promotion"),
            sa.Column("from_threshold_id", sa.Integer()),
            sa.Column("to_threshold_id", sa.Integer()),
            sa.Column("figures", sa.JSON(), nullable=False, server_default="{}"),
            text("note"),
            word("dag_run_id", 255),
        ],
        "drift_reports": [
            word("diagnosis", 16, "none"),
            sa.Column("reasons", sa.JSON(), nullable=False, server_default="[]"),
        ],
    }
