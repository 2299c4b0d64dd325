"""An accepted image may have a reason: what is odd about it. A delivery knows which night's report tells of it.

Validation hides no product any more: an image out of its limits is accepted, and `reason` says what is odd. What was
quarantined before stays as it is; `cae validate --again` judges a batch by the rules of today.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

OLD_CHECK = "reason_iff_quarantined CHECK ((status = 'accepted') = (reason = ''))"
NEW_CHECK = "quarantined_has_a_reason CHECK (status = 'accepted' OR reason <> '')"

VIEWS = {
    # the threshold of each model version that its scores are held against
    "thresholds_in_force": """
        SELECT thresholds.* FROM thresholds
        WHERE threshold_id = (SELECT MAX(newer.threshold_id) FROM thresholds AS newer
                              WHERE newer.model_version = thresholds.model_version)
    """,
    # the verdict of each image that counts: the latest
    "latest_verdicts": """
        SELECT verdicts.* FROM verdicts
        WHERE verdict_id = (SELECT MAX(later.verdict_id) FROM verdicts AS later
                            WHERE later.image_id = verdicts.image_id)
    """,
    # flagged images with the latest verdict; is_latest is 0 where a later judgement or delivery replaced this one
    "anomalies": """
        SELECT batches.line, batches.batch_id, batches.night, judgements.name, judgements.image_id, judgements.score,
               judgements.p_value, thresholds_in_force.value AS threshold, judgements.model_version,
               COALESCE(latest_verdicts.verdict, '') AS verdict,
               CASE WHEN judgements.is_current THEN 1 ELSE 0 END AS is_latest,
               images.reason, judgements.regions, judgements.map_uri, model_versions.run_id, judgements.dag_run_id,
               judgements.judged_at AS scored_at
        FROM judgements
        JOIN images ON images.delivery_key = judgements.delivery_key AND images.name = judgements.name
        JOIN deliveries ON deliveries.delivery_key = judgements.delivery_key
        JOIN batches ON batches.batch_key = deliveries.batch_key
        JOIN model_versions ON model_versions.model_version = judgements.model_version
        JOIN thresholds_in_force ON thresholds_in_force.model_version = judgements.model_version
        LEFT JOIN latest_verdicts ON latest_verdicts.image_id = judgements.image_id
        WHERE judgements.score > thresholds_in_force.value
    """,
    # images that were scored although a fact lies outside its limits: they count apart. They are few, and SQLite begins
    # at them because of CROSS JOIN
    "scored_out_of_limits": """
        SELECT judgements.* FROM images CROSS JOIN judgements
        WHERE judgements.delivery_key = images.delivery_key AND judgements.name = images.name
        AND images.status = 'accepted' AND images.reason <> ''
        AND images.reason NOT IN ('near_duplicate', 'unlike_line')
        AND judgements.is_current AND judgements.score IS NOT NULL
    """,
    # flagged images as they count in the rates: those out of limits do not.
    # CROSS JOIN has SQLite begin at the thresholds, which are few: then an index answers without a look at the rows
    "counted_flags": """
        SELECT judgements.delivery_key, judgements.image_id FROM thresholds_in_force CROSS JOIN judgements
        WHERE judgements.model_version = thresholds_in_force.model_version AND is_current AND score > value
        AND NOT EXISTS (SELECT 1 FROM images WHERE images.delivery_key = judgements.delivery_key
                        AND images.name = judgements.name AND images.status = 'accepted'
                        AND images.reason NOT IN ('', 'near_duplicate', 'unlike_line'))
    """,
    # what a delivery has come to; images out of limits count apart from the scored and the flagged ones
    "delivery_rates": """
        SELECT deliveries.delivery_key, batches.line, batches.night, deliveries.is_in_force, deliveries.num_images,
               deliveries.num_quarantined - (SELECT COUNT(*) FROM releases
                                             WHERE releases.delivery_key = deliveries.delivery_key)
                   AS num_quarantined,
               (SELECT COUNT(*) FROM judgements WHERE judgements.delivery_key = deliveries.delivery_key
                AND is_current AND outcome = 'failed') AS num_failed,
               (SELECT COUNT(*) FROM scored_out_of_limits
                WHERE scored_out_of_limits.delivery_key = deliveries.delivery_key) AS num_out_of_limits,
               (SELECT COUNT(*) FROM judgements WHERE judgements.delivery_key = deliveries.delivery_key
                AND is_current AND score IS NOT NULL)
                   - (SELECT COUNT(*) FROM scored_out_of_limits
                      WHERE scored_out_of_limits.delivery_key = deliveries.delivery_key) AS num_scored,
               (SELECT COUNT(*) FROM counted_flags WHERE counted_flags.delivery_key = deliveries.delivery_key)
                   AS num_flagged,
               (SELECT COUNT(*) FROM counted_flags WHERE counted_flags.delivery_key = deliveries.delivery_key
                AND (SELECT verdict FROM verdicts WHERE verdicts.image_id = counted_flags.image_id
                     ORDER BY verdict_id DESC LIMIT 1) = 'defect') AS num_confirmed,
               (SELECT COUNT(*) FROM counted_flags WHERE counted_flags.delivery_key = deliveries.delivery_key
                AND (SELECT verdict FROM verdicts WHERE verdicts.image_id = counted_flags.image_id
                     ORDER BY verdict_id DESC LIMIT 1) = 'normal') AS num_false_alarms
        FROM batches
        JOIN deliveries ON deliveries.batch_key = batches.batch_key
    """,
    # what a line's nights looked like, one row per line and night; the delivery in force of each batch counts
    "daily_rates": """
        SELECT line, night,
               CAST(SUM(num_images) AS INTEGER) AS num_images,
               CAST(SUM(num_quarantined) AS INTEGER) AS num_quarantined,
               CAST(SUM(num_failed) AS INTEGER) AS num_failed,
               CAST(SUM(num_out_of_limits) AS INTEGER) AS num_out_of_limits,
               CAST(SUM(num_scored) AS INTEGER) AS num_scored,
               CAST(SUM(num_flagged) AS INTEGER) AS num_flagged,
               CAST(SUM(num_confirmed) AS INTEGER) AS num_confirmed,
               CAST(SUM(num_false_alarms) AS INTEGER) AS num_false_alarms
        FROM delivery_rates
        WHERE is_in_force
        GROUP BY line, night
    """,
}


def upgrade() -> None:
    """Add the columns, loosen one check, and say of every night so far that its own report tells of its batches."""
    for view in ("anomalies", "daily_rates", "latest_verdicts", "thresholds_in_force"):
        op.execute(f"DROP VIEW {view}")
    op.add_column("deliveries", sa.Column("number", sa.Integer, nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("reported_night", sa.Date))
    op.add_column("deliveries", sa.Column("reported_at", sa.DateTime(timezone=True)))
    op.execute(
        "UPDATE deliveries SET reported_at = COALESCE(finished_at, validated_at), reported_night = "
        "(SELECT night FROM batches WHERE batches.batch_key = deliveries.batch_key) WHERE status <> 'validated'"
    )
    _loosen()
    odd = sa.text("status = 'accepted' AND reason <> ''")
    op.create_index("odd_images", "images", ["delivery_key", "name"], sqlite_where=odd, postgresql_where=odd)
    stale = sa.text("finished_at > reported_at")
    op.create_index("stale_reports", "deliveries", ["reported_night"], sqlite_where=stale, postgresql_where=stale)
    waiting = sa.text("is_in_force AND reported_night IS NULL")
    op.create_index("unreported", "deliveries", ["batch_key"], sqlite_where=waiting, postgresql_where=waiting)
    op.create_index("deliveries_by_report", "deliveries", ["reported_night"])
    for view, text in VIEWS.items():
        op.execute(f"CREATE VIEW {view} AS {text}")


def _loosen() -> None:
    """Let an accepted image have a reason.

    Source:
        SQLite's documentation of ALTER TABLE, "Making other kinds of table schema changes": a check is taken away by
        writing the text of the table, without copying its rows, to which others refer.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE images DROP CONSTRAINT {OLD_CHECK.split(maxsplit=1)[0]}")
        op.execute(f"ALTER TABLE images ADD CONSTRAINT {NEW_CHECK}")
        return
    version = op.get_bind().exec_driver_sql("PRAGMA schema_version").scalar_one()
    op.execute("PRAGMA writable_schema = ON")
    changed = op.get_bind().execute(
        sa.text("UPDATE sqlite_master SET sql = replace(sql, :old, :new) WHERE type = 'table' AND name = 'images'"),
        {"old": OLD_CHECK, "new": NEW_CHECK},
    )
    assert changed.rowcount == 1
    op.execute(f"PRAGMA schema_version = {version + 1}")
    op.execute("PRAGMA writable_schema = RESET")
