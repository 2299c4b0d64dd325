"""Deliveries, outcomes and states: what became of an image belongs to the image and the model version that judged it.

A batch becomes a line and a batch_id with deliveries, of which the newest is in force. `scores` become `judgements`, in
which a failure has a place; an image that was failed for ever waits for an outcome again. Whether a score is flagged is
worked out from the threshold in force when somebody looks, not stored. `champions` become a state of the model
version, `promotions` the `ledger`.

Tables whose checks or keys change are built anew beside the old ones, and filled from them.
"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

KEY, DIGEST, NAME = sa.String(32), sa.String(64), sa.String(255)
FACTS = "width_px, height_px, mode, brightness, contrast, sharpness, entropy, difference_hash, red_share, blue_share"
STATES = "'candidate', 'refused', 'awaiting', 'declined', 'expired', 'promoted', 'superseded', 'rolled_back'"

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
               judgements.regions, judgements.map_uri, model_versions.run_id, judgements.dag_run_id,
               judgements.judged_at AS scored_at
        FROM judgements
        JOIN deliveries ON deliveries.delivery_key = judgements.delivery_key
        JOIN batches ON batches.batch_key = deliveries.batch_key
        JOIN model_versions ON model_versions.model_version = judgements.model_version
        JOIN thresholds_in_force ON thresholds_in_force.model_version = judgements.model_version
        LEFT JOIN latest_verdicts ON latest_verdicts.image_id = judgements.image_id
        WHERE judgements.score > thresholds_in_force.value
    """,
    # what a line's nights looked like, one row per line and night; the delivery in force of each batch counts
    "daily_rates": """
        SELECT line, night,
               CAST(SUM(num_images) AS INTEGER) AS num_images,
               CAST(SUM(num_quarantined - num_released) AS INTEGER) AS num_quarantined,
               CAST(SUM(num_failed) AS INTEGER) AS num_failed,
               CAST(SUM(num_scored) AS INTEGER) AS num_scored,
               CAST(SUM(num_flagged) AS INTEGER) AS num_flagged,
               CAST(SUM(num_confirmed) AS INTEGER) AS num_confirmed,
               CAST(SUM(num_false_alarms) AS INTEGER) AS num_false_alarms
        FROM (
            SELECT batches.line, batches.night, deliveries.num_images, deliveries.num_quarantined,
                   (SELECT COUNT(*) FROM releases WHERE releases.delivery_key = deliveries.delivery_key)
                       AS num_released,
                   (SELECT COUNT(*) FROM judgements WHERE judgements.delivery_key = deliveries.delivery_key
                    AND is_current AND outcome = 'failed') AS num_failed,
                   (SELECT COUNT(*) FROM judgements WHERE judgements.delivery_key = deliveries.delivery_key
                    AND is_current AND score IS NOT NULL) AS num_scored,
                   (SELECT COUNT(*) FROM thresholds_in_force CROSS JOIN judgements
                    WHERE judgements.model_version = thresholds_in_force.model_version
                    AND judgements.delivery_key = deliveries.delivery_key AND is_current AND score > value)
                       AS num_flagged,
                   (SELECT COUNT(*) FROM thresholds_in_force CROSS JOIN judgements
                    WHERE judgements.model_version = thresholds_in_force.model_version
                    AND judgements.delivery_key = deliveries.delivery_key AND is_current AND score > value
                    AND (SELECT verdict FROM verdicts WHERE verdicts.image_id = judgements.image_id
                         ORDER BY verdict_id DESC LIMIT 1) = 'defect') AS num_confirmed,
                   (SELECT COUNT(*) FROM thresholds_in_force CROSS JOIN judgements
                    WHERE judgements.model_version = thresholds_in_force.model_version
                    AND judgements.delivery_key = deliveries.delivery_key AND is_current AND score > value
                    AND (SELECT verdict FROM verdicts WHERE verdicts.image_id = judgements.image_id
                         ORDER BY verdict_id DESC LIMIT 1) = 'normal') AS num_false_alarms
            FROM batches
            JOIN deliveries ON deliveries.batch_key = batches.batch_key AND deliveries.is_in_force
        ) AS by_delivery
        GROUP BY line, night
    """,
}


def upgrade() -> None:
    """Rename what is replaced, build what is new, fill it, and drop the old."""
    for view in ("anomalies", "daily_rates"):
        op.execute(f"DROP VIEW {view}")
    for index in ("batches_by_line_and_night", "images_by_id", "scores_by_image", "flagged_scores"):
        op.execute(f"DROP INDEX {index}")
    for table in ("batches", "images", "releases", "snapshots"):
        op.rename_table(table, f"old_{table}")
    _build()
    _fill_batches()
    _fill_images()
    _fill_judgements()
    _fill_life()
    for table in ("scores", "champions", "promotions", "old_snapshots", "old_releases", "old_images", "old_batches"):
        op.drop_table(table)
    _index()
    for view, text in VIEWS.items():
        op.execute(f"CREATE VIEW {view} AS {text}")


def _key(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _fill_batches() -> None:
    """One batch for each line and batch_id, dated as its first delivery; the delivery validated last is in force."""
    connection = op.get_bind()
    old = connection.execute(
        sa.text("SELECT batch_key, line, batch_id, night FROM old_batches ORDER BY validated_at, batch_key")
    ).all()
    newest = {(row.line, row.batch_id): row.batch_key for row in old}
    first = {(row.line, row.batch_id): row.night for row in reversed(old)}
    for (line, batch_id), night in first.items():
        connection.execute(
            sa.text("INSERT INTO batches (batch_key, line, batch_id, night) VALUES (:key, :line, :batch_id, :night)"),
            {"key": _key(line, batch_id), "line": line, "batch_id": batch_id, "night": night},
        )
    op.execute(
        """
        INSERT INTO deliveries (delivery_key, batch_key, manifest_sha256, is_in_force, status, num_images,
                                num_quarantined, num_bytes, limits, rejected_for, data_docs_uri, dag_run_id,
                                listed_at, validated_at, finished_at)
        SELECT old.batch_key, batches.batch_key, manifest_sha256, false, status, num_images,
               num_quarantined, num_bytes, '{}', rejected_for, data_docs_uri, dag_run_id,
               validated_at, validated_at, finished_at
        FROM old_batches AS old
        JOIN batches ON batches.line = old.line AND batches.batch_id = old.batch_id
        """
    )
    for key in newest.values():
        connection.execute(sa.text("UPDATE deliveries SET is_in_force = true WHERE delivery_key = :key"), {"key": key})


def _fill_images() -> None:
    """An image that no model could judge is accepted again: whether one can is no property of the image."""
    op.execute(
        f"""
        INSERT INTO images (delivery_key, name, image_id, num_bytes, status, reason, detail, duplicate_of, {FACTS})
        SELECT batch_key, name, image_id, num_bytes,
               CASE WHEN status = 'failed' THEN 'accepted' ELSE status END,
               CASE WHEN status = 'failed' THEN '' ELSE reason END,
               CASE WHEN status = 'failed' THEN '' ELSE detail END, duplicate_of, {FACTS}
        FROM old_images
        """  # our own words
    )
    op.execute(
        """
        INSERT INTO releases (delivery_key, name, reason, author, note, released_at)
        SELECT batch_key, name, reason, author, note, released_at FROM old_releases
        """
    )


def _fill_judgements() -> None:
    """Copy every score; the newest of an image in the delivery in force is the one that counts.

    A delivery in force with an image that has no score, such as one that had failed, is worked on again.
    """
    columns = (
        "delivery_key, name, model_version, image_id, outcome, reason, detail, score, p_value, regions, map_uri, "
        "map_unit, latent, is_current, dag_run_id, judged_at"
    )
    op.execute(
        f"""
        INSERT INTO judgements ({columns})
        SELECT images.delivery_key, images.name, scores.model_version, scores.image_id, 'scored', '', '', score,
               p_value, regions, map_uri, CASE WHEN thresholds.value > 0 THEN thresholds.value ELSE 1 END, code,
               deliveries.is_in_force AND NOT EXISTS (
                   SELECT 1 FROM scores AS later
                   WHERE later.batch_key = scores.batch_key AND later.image_id = scores.image_id
                   AND (later.scored_at > scores.scored_at
                        OR (later.scored_at = scores.scored_at AND later.model_version > scores.model_version))),
               scores.dag_run_id, scored_at
        FROM scores
        JOIN thresholds ON thresholds.threshold_id = scores.threshold_id
        JOIN images ON images.delivery_key = scores.batch_key AND images.name = scores.name
        JOIN deliveries ON deliveries.delivery_key = scores.batch_key
        """  # our own words
    )
    # a released duplicate of an image in its own batch had no row of its own, and so was in no count
    op.execute(
        f"""
        INSERT INTO judgements ({columns})
        SELECT images.delivery_key, images.name, twin.model_version, twin.image_id, outcome, twin.reason, twin.detail,
               score, p_value, regions, map_uri, map_unit, latent, is_current, dag_run_id, judged_at
        FROM releases
        JOIN images ON images.delivery_key = releases.delivery_key AND images.name = releases.name
        JOIN judgements AS twin ON twin.delivery_key = images.delivery_key AND twin.image_id = images.image_id
        WHERE NOT EXISTS (SELECT 1 FROM judgements AS own WHERE own.delivery_key = images.delivery_key
                          AND own.name = images.name AND own.model_version = twin.model_version)
        """  # our own words
    )
    op.execute(
        """
        UPDATE deliveries SET status = 'validated', finished_at = NULL
        WHERE is_in_force AND status = 'scored' AND EXISTS (
            SELECT 1 FROM images
            LEFT JOIN releases ON releases.delivery_key = images.delivery_key AND releases.name = images.name
            WHERE images.delivery_key = deliveries.delivery_key
            AND (images.status = 'accepted' OR releases.name IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM judgements WHERE judgements.delivery_key = images.delivery_key
                            AND judgements.name = images.name))
        """
    )


def _fill_life() -> None:
    """Copy snapshots and the ledger, and read each version's state from what happened to it last."""
    op.execute(
        """
        INSERT INTO snapshots (model_version, delivery_key, name, part)
        SELECT model_version, batch_key, name, part FROM old_snapshots
        """
    )
    op.execute(
        """
        INSERT INTO ledger (entry_id, line, event, from_version, to_version, from_threshold_id, to_threshold_id,
                            reasons, figures, author, note, dag_run_id, decided_at)
        SELECT promotion_id, line, event, from_version, to_version, from_threshold_id, to_threshold_id,
               reasons, figures, author, note, dag_run_id, decided_at
        FROM promotions
        """
    )
    _mend_figures()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SELECT setval('ledger_entry_id_seq', (SELECT COALESCE(MAX(entry_id), 0) + 1 FROM ledger), false)")
    states: dict[str, str] = {}
    entries = op.get_bind().execute(sa.text("SELECT event, from_version, to_version FROM ledger ORDER BY entry_id"))
    left_as = {"promotion": "superseded", "rollback": "rolled_back"}
    reached = {"promotion": "promoted", "rollback": "promoted", "refusal": "refused", "awaits_approval": "awaiting"}
    for event, before, after in entries:
        if event in left_as and before:
            states[before] = left_as[event]
        if event in reached and (states.get(after) != "promoted" or event in left_as):
            states[after] = reached[event]
    champions = {row[0] for row in op.get_bind().execute(sa.text("SELECT model_version FROM champions"))}
    for version, state in states.items():
        # who serves is what the table of champions said
        settled = "superseded" if state == "promoted" and version not in champions else state
        _set_state(version, settled)
    for version in champions:
        _set_state(version, "promoted")


def _mend_figures() -> None:
    """Put null where SQLite let infinity or NaN through, which are no JSON; PostgreSQL has refused them."""
    if op.get_bind().dialect.name != "sqlite":
        return
    broken = "figures LIKE '%Infinity%' OR figures LIKE '%NaN%'"
    for table, key in (("ledger", "entry_id"), ("model_versions", "model_version")):
        rows = op.get_bind().execute(sa.text(f"SELECT {key}, figures FROM {table} WHERE {broken}")).all()
        for identity, figures in rows:
            mended = json.dumps(json.loads(figures, parse_constant=lambda _: None))
            op.get_bind().execute(
                sa.text(f"UPDATE {table} SET figures = :figures WHERE {key} = :key"),
                {"figures": mended, "key": identity},
            )


def _set_state(model_version: str, state: str) -> None:
    op.get_bind().execute(
        sa.text("UPDATE model_versions SET state = :state WHERE model_version = :version"),
        {"state": state, "version": model_version},
    )


def _build() -> None:
    """Create the new tables, without the indexes that filling them would slow down."""
    op.create_table(
        "batches",
        sa.Column("batch_key", KEY, primary_key=True),
        sa.Column("line", NAME, nullable=False),
        sa.Column("batch_id", NAME, nullable=False),
        sa.Column("night", sa.Date, nullable=False),
        sa.UniqueConstraint("line", "batch_id"),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_key", KEY, primary_key=True),
        sa.Column("batch_key", KEY, sa.ForeignKey("batches.batch_key"), nullable=False),
        sa.Column("manifest_sha256", DIGEST, nullable=False),
        sa.Column("is_in_force", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("num_images", sa.Integer, nullable=False),
        sa.Column("num_quarantined", sa.Integer, nullable=False),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("rejected_for", sa.Text, nullable=False),
        sa.Column("data_docs_uri", sa.Text, nullable=False),
        sa.Column("dag_run_id", NAME, nullable=False),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("validated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("status IN ('validated', 'rejected', 'scored')", name="delivery_status"),
    )
    op.create_table(
        "images",
        sa.Column("delivery_key", KEY, sa.ForeignKey("deliveries.delivery_key"), primary_key=True),
        sa.Column("name", NAME, primary_key=True),
        sa.Column("image_id", DIGEST, nullable=False),
        sa.Column("num_bytes", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("duplicate_of", DIGEST, nullable=False),
        sa.Column("width_px", sa.Integer),
        sa.Column("height_px", sa.Integer),
        sa.Column("mode", sa.String(16)),
        sa.Column("brightness", sa.Float),
        sa.Column("contrast", sa.Float),
        sa.Column("sharpness", sa.Float),
        sa.Column("entropy", sa.Float),
        sa.Column("difference_hash", DIGEST),
        sa.Column("red_share", sa.Float),
        sa.Column("blue_share", sa.Float),
        sa.CheckConstraint("status IN ('accepted', 'quarantined')", name="image_status"),
        sa.CheckConstraint("(status = 'accepted') = (reason = '')", name="reason_iff_quarantined"),
    )
    op.create_table(
        "releases",
        sa.Column("delivery_key", KEY, primary_key=True),
        sa.Column("name", NAME, primary_key=True),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["delivery_key", "name"], ["images.delivery_key", "images.name"]),
    )
    op.create_table(
        "snapshots",
        sa.Column("model_version", NAME, sa.ForeignKey("model_versions.model_version"), primary_key=True),
        sa.Column("delivery_key", KEY, primary_key=True),
        sa.Column("name", NAME, primary_key=True),
        sa.Column("part", sa.String(16), nullable=False),
        sa.CheckConstraint("part IN ('train', 'validation', 'calibration')", name="snapshot_part"),
        sa.ForeignKeyConstraint(["delivery_key", "name"], ["images.delivery_key", "images.name"]),
    )
    op.create_table(
        "judgements",
        sa.Column("delivery_key", KEY, primary_key=True),
        sa.Column("name", NAME, primary_key=True),
        sa.Column("model_version", NAME, sa.ForeignKey("model_versions.model_version"), primary_key=True),
        sa.Column("image_id", DIGEST, nullable=False),
        sa.Column("outcome", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("score", sa.Float),
        sa.Column("p_value", sa.Float),
        sa.Column("regions", sa.JSON, nullable=False),
        sa.Column("map_uri", sa.Text, nullable=False),
        sa.Column("map_unit", sa.Float),
        sa.Column("latent", sa.LargeBinary),
        sa.Column("is_current", sa.Boolean, nullable=False),
        sa.Column("dag_run_id", NAME, nullable=False),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["delivery_key", "name"], ["images.delivery_key", "images.name"]),
        sa.CheckConstraint("outcome IN ('scored', 'failed')", name="judgement_outcome"),
        sa.CheckConstraint("(outcome = 'failed') = (reason <> '')", name="reason_iff_failed"),
        sa.CheckConstraint(
            "(outcome = 'scored') = (score IS NOT NULL AND p_value IS NOT NULL AND map_unit IS NOT NULL)",
            name="scored_has_a_score",
        ),
        sa.CheckConstraint("score >= 0 AND score <= 1e+300", name="score_is_finite"),
        sa.CheckConstraint("p_value > 0 AND p_value <= 1", name="p_value_in_range"),
        sa.CheckConstraint("map_unit > 0 AND map_unit <= 1e+300", name="map_unit_is_finite"),
    )
    op.create_table(
        "ledger",
        sa.Column("entry_id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("line", NAME, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("from_version", NAME, nullable=False),
        sa.Column("to_version", NAME, sa.ForeignKey("model_versions.model_version"), nullable=False),
        sa.Column("from_threshold_id", sa.Integer),
        sa.Column("to_threshold_id", sa.Integer),
        sa.Column("decision_id", sa.Integer),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("figures", sa.JSON, nullable=False),
        sa.Column("author", NAME, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("dag_run_id", NAME, nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.execute(
        "ALTER TABLE model_versions ADD COLUMN state VARCHAR(16) DEFAULT 'candidate' NOT NULL "
        f"CONSTRAINT model_state CHECK (state IN ({STATES}))"
    )


def _index() -> None:
    op.create_index("batches_by_line_and_night", "batches", ["line", "night"])
    op.create_index("batches_by_night", "batches", ["night"])
    op.create_index("deliveries_by_batch", "deliveries", ["batch_key"])
    _partial("one_delivery_in_force", "deliveries", ["batch_key"], where="is_in_force", unique=True)
    op.create_index("images_by_id", "images", ["image_id"])
    _partial("quarantined_images", "images", ["delivery_key"], where="status = 'quarantined'", unique=False)
    op.create_index("judgements_by_image", "judgements", ["image_id"])
    _partial(
        "current_judgements", "judgements", ["delivery_key", "model_version", "score"], where="is_current", unique=False
    )
    op.create_index("scores_of_version", "judgements", ["model_version", "score", "is_current"])
    _partial(
        "failed_judgements", "judgements", ["delivery_key"], where="is_current AND outcome = 'failed'", unique=False
    )
    op.create_index("ledger_by_line", "ledger", ["line", "entry_id"])
    _partial("one_champion", "model_versions", ["line"], where="state = 'promoted'", unique=True)
    op.create_index("thresholds_by_version", "thresholds", ["model_version", "threshold_id"])
    _partial("waiting_alerts", "alerts", ["raised_at"], where="delivered_at IS NULL", unique=False)


def _partial(name: str, table: str, columns: list[str], *, where: str, unique: bool) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
