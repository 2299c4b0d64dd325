"""The views that people query. A migration must not change with the schema, so each has a copy of its own."""

from __future__ import annotations

import sqlalchemy as sa

from cae_pipeline.adapters.results.schema import batches, judgements, thresholds

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

in_force = sa.table(
    "thresholds_in_force",
    sa.column("model_version", sa.String),
    sa.column("threshold_id", sa.Integer),
    sa.column("value", sa.Float),
)
latest_verdicts = sa.table("latest_verdicts", sa.column("image_id", sa.String), sa.column("verdict", sa.String))
anomalies = sa.table(
    "anomalies",
    *(sa.column(name, batches.c[name].type) for name in ("line", "batch_id", "night")),
    *(sa.column(name, judgements.c[name].type) for name in ("name", "image_id", "score", "p_value")),
    sa.column("threshold", thresholds.c.value.type),
    *(sa.column(name, sa.String) for name in ("model_version", "verdict")),
    sa.column("is_latest", sa.Integer),
    sa.column("reason", sa.String),
    *(sa.column(name, judgements.c[name].type) for name in ("regions", "map_uri")),
    *(sa.column(name, sa.String) for name in ("run_id", "dag_run_id")),
    sa.column("scored_at", judgements.c.judged_at.type),
)
COUNTS = ("images", "quarantined", "failed", "out_of_limits", "scored", "flagged", "confirmed", "false_alarms")
delivery_rates = sa.table(
    "delivery_rates",
    sa.column("delivery_key", sa.String),
    *(sa.column(f"num_{name}", sa.Integer) for name in COUNTS),
)
daily_rates = sa.table(
    "daily_rates",
    *(sa.column(name, batches.c[name].type) for name in ("line", "night")),
    *(sa.column(f"num_{name}", sa.Integer) for name in COUNTS),
)
