"""A database filled by version 0.1.0 keeps every row, with its meaning, when it is opened by today's code."""

from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa

from cae_pipeline.adapters.results import database
from tests import old_databases, old_rows
from tests.old_databases import FIRST, OLDER, SECOND, T1, T2, W1, W2, W3, WAITING, read_tables, write_old_database
from tests.old_rows import Row, digest

Tables = dict[str, list[Row]]


@pytest.fixture
def old_url(new_database_url: str) -> str:
    """URL of a database at schema 0003, every table filled."""
    write_old_database(new_database_url)
    return new_database_url


@pytest.fixture
def tables(old_url: str) -> Tables:
    """What is in it after today's code has opened it."""
    database.open_database(old_url).dispose()
    return read_tables(old_url)


def test_the_old_database_has_several_rows_in_every_table(old_url: str) -> None:
    before = read_tables(old_url)
    assert before.pop("alembic_version") == [{"version_num": "0003"}]
    assert {name: len(rows) for name, rows in before.items()} == {
        name: len(rows) for name, rows in old_databases.old_tables().items()
    }
    assert min(len(rows) for rows in before.values()) >= 2


def test_every_row_of_every_table_is_there_after_the_migration(old_url: str) -> None:
    before = read_tables(old_url)
    database.open_database(old_url).dispose()
    after = read_tables(old_url)
    assert after.pop("alembic_version") == [{"version_num": database.HEAD}]
    for name, rows in old_databases.old_tables().items():
        assert after[name] == before[name], name
        assert len(after[name]) == len(rows), name


def test_both_deliveries_of_a_batch_id_are_there_with_their_members(tables: Tables) -> None:
    deliveries = {row["batch_key"]: row for row in tables["batches"] if row["batch_id"] == "2026-01-30"}
    assert {key: row["line"] for key, row in deliveries.items() if row["line"] == "washers"} == {
        FIRST: "washers",
        SECOND: "washers",
    }
    members = Counter(row["batch_key"] for row in tables["images"])
    assert (members[FIRST], members[SECOND]) == (2, 3)
    assert deliveries[FIRST]["validated_at"] == old_rows.at(30, 21)
    assert deliveries[SECOND]["validated_at"] == old_rows.at(30, 22)
    assert deliveries[SECOND]["num_bytes"] == 9_000_000_000


def test_every_image_keeps_what_became_of_it(tables: Tables) -> None:
    reasons = {row["name"]: row["reason"] for row in tables["images"] if row["batch_key"] in {OLDER, WAITING}}
    assert reasons == {
        "bite.png": "",
        "ring.png": "",
        "dark.png": "too_dark",
        "torn.png": "truncated",
        "swapped.png": "scoring_failed",
        "c.png": "",
        "ring-again.png": "duplicate",
        "near.png": "near_duplicate",
        "gone.png": "missing",
        "wide.png": "wrong_size",
    }
    assert Counter(row["status"] for row in tables["batches"]) == {"scored": 4, "validated": 3, "rejected": 1}
    assert {(row["batch_key"], row["name"], row["author"]) for row in tables["releases"]} == {
        (OLDER, "dark.png", "ada"),
        (WAITING, "wide.png", "ada"),
    }


def test_scores_of_both_models_stay_beside_each_other_with_their_flags_and_regions(tables: Tables) -> None:
    of_older = {
        (row["name"], row["model_version"]): (row["score"], row["is_anomalous"], row["regions"], row["code"])
        for row in tables["scores"]
        if row["batch_key"] == OLDER
    }
    assert of_older == {
        ("bite.png", W1): (4.5, True, old_rows.REGIONS, None),
        ("ring.png", W1): (2.0, False, [], None),
        ("dark.png", W1): (0.5, False, [], old_rows.LATENT),
        ("bite.png", W2): (5.0, True, old_rows.REGIONS, old_rows.LATENT),
        ("ring.png", W2): (2.0, True, old_rows.REGIONS, old_rows.LATENT),
    }


def test_thresholds_keep_their_numbers_and_the_next_one_is_newer_than_all(old_url: str, tables: Tables) -> None:
    assert {row["threshold_id"]: (row["model_version"], row["value"]) for row in tables["thresholds"]} == {
        1: (W1, 2.0),
        2: (W1, 2.25),
        3: (W2, 1.5),
        4: (W2, 1.75),
        5: (T1, 3.0),
        6: (T1, 2.5),
        7: (W3, 1.0),
        8: (T2, 2.0),
    }
    engine = database.connect(old_url)
    thresholds = sa.Table("thresholds", sa.MetaData(), autoload_with=engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(thresholds).values(**old_rows.threshold(W1, 2.5, 31)))
        assert connection.scalar(sa.select(sa.func.max(thresholds.c.threshold_id))) == 9
    engine.dispose()


def test_the_ledger_tells_the_same_story_and_the_same_models_serve(tables: Tables) -> None:
    assert [(row["event"], row["from_version"], row["to_version"]) for row in tables["promotions"]] == [
        ("promotion", "", W1),
        ("promotion", "", T1),
        ("threshold", W1, W1),
        ("threshold", T1, T1),
        ("awaits_approval", W1, W2),
        ("promotion", W1, W2),
        ("refusal", W2, W3),
        ("awaits_approval", T1, T2),
        ("threshold", W2, W2),
        ("rollback", W2, W1),
    ]
    refusal, rollback = tables["promotions"][6], tables["promotions"][9]
    assert refusal["reasons"][1].startswith("REFUSED: synthetic AUROC")
    assert (rollback["author"], rollback["note"], rollback["decided_at"]) == ("bob", "lens was dirty", old_rows.at(29))
    serving = {row["line"]: (row["model_version"], row["threshold_id"]) for row in tables["champions"]}
    assert serving == {"washers": (W1, 2), "tiles": (T1, 6)}


def test_what_each_model_was_trained_on_is_kept_with_the_part_it_played(tables: Tables) -> None:
    parts = Counter((row["model_version"], row["part"]) for row in tables["snapshots"])
    assert (parts[W1, "train"], parts[W1, "calibration"], parts[W2, "train"], parts[T1, "train"]) == (2, 1, 2, 1)
    [calibration] = [r for r in tables["snapshots"] if (r["model_version"], r["part"]) == (W1, "calibration")]
    assert calibration["name"] == "n3.png"


def test_verdicts_drift_retrainings_and_alerts_are_kept(tables: Tables) -> None:
    said = [(row["image_id"], row["verdict"], row["author"]) for row in tables["verdicts"]]
    assert said[:2] == [(digest("bite"), "unsure", "bob"), (digest("bite"), "defect", "ada")]
    assert {(row["model_version"], row["night"].day, row["diagnosis"]) for row in tables["drift_reports"]} == {
        (W1, 29, "none"),
        (W1, 30, "camera"),
        (T1, 30, "defects"),
    }
    assert tables["drift_reports"][0]["shifts"][0]["measure"] == "brightness"
    assert [(row["line"], row["trigger"]) for row in tables["retrainings"]] == [
        ("washers", "verdicts"),
        ("tiles", "drift"),
    ]
    assert {row["kind"]: (row["delivered_at"] is None, row["num_attempts"]) for row in tables["alerts"]} == {
        "batch_rejected": (False, 1),
        "drift": (True, 2),
        "challenger_refused": (True, 50),
        "no_batch": (True, 0),
    }


def test_opening_an_old_database_twice_changes_nothing_more(old_url: str, tables: Tables) -> None:
    database.migrate(database.connect(old_url))
    assert read_tables(old_url) == tables
