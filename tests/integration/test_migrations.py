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
    for name in ("thresholds", "verdicts", "drift_reports", "retrainings", "alerts"):
        assert after[name] == before[name], name
    for old, new in (("batches", "deliveries"), ("images", "images"), ("releases", "releases")):
        keys = {row["batch_key"] for row in before[old]}
        assert {row["delivery_key"] for row in after[new]} == keys, new
        assert len(after[new]) == len(before[old]), new
    for old, new in (("scores", "judgements"), ("promotions", "ledger"), ("snapshots", "snapshots")):
        assert len(after[new]) == len(before[old]), new
    assert not {"scores", "champions", "promotions"} & set(after)


def test_a_batch_is_one_row_and_its_newest_delivery_is_in_force(tables: Tables) -> None:
    [batch] = [row for row in tables["batches"] if (row["line"], row["batch_id"]) == ("washers", "2026-01-30")]
    assert batch["night"].day == 30
    deliveries = {row["delivery_key"]: row for row in tables["deliveries"] if row["batch_key"] == batch["batch_key"]}
    assert {key: row["is_in_force"] for key, row in deliveries.items()} == {FIRST: False, SECOND: True}
    members = Counter(row["delivery_key"] for row in tables["images"])
    assert (members[FIRST], members[SECOND]) == (2, 3)
    assert deliveries[FIRST]["validated_at"] == deliveries[FIRST]["listed_at"] == old_rows.at(30, 21)
    assert deliveries[SECOND]["num_bytes"] == 9_000_000_000
    assert all(row["is_in_force"] for row in tables["deliveries"] if row["delivery_key"] != FIRST)


def test_every_image_keeps_what_became_of_it_and_one_that_had_failed_waits_again(tables: Tables) -> None:
    reasons = {row["name"]: row["reason"] for row in tables["images"] if row["delivery_key"] in {OLDER, WAITING}}
    assert reasons == {
        "bite.png": "",
        "ring.png": "",
        "dark.png": "too_dark",
        "torn.png": "truncated",
        "swapped.png": "",
        "c.png": "",
        "ring-again.png": "duplicate",
        "near.png": "near_duplicate",
        "gone.png": "missing",
        "wide.png": "wrong_size",
    }
    status = {row["delivery_key"]: row["status"] for row in tables["deliveries"]}
    # the one with the failed image is worked on again
    assert status[OLDER] == "validated"
    assert Counter(status.values()) == {"scored": 3, "validated": 4, "rejected": 1}
    assert {(row["delivery_key"], row["name"], row["author"]) for row in tables["releases"]} == {
        (OLDER, "dark.png", "ada"),
        (WAITING, "wide.png", "ada"),
    }


def test_scores_of_both_models_stay_beside_each_other_and_the_newest_counts(tables: Tables) -> None:
    of_older = {
        (row["name"], row["model_version"]): (row["score"], row["is_current"], row["regions"], row["latent"])
        for row in tables["judgements"]
        if row["delivery_key"] == OLDER
    }
    assert of_older == {
        ("bite.png", W1): (4.5, False, old_rows.REGIONS, None),
        ("ring.png", W1): (2.0, False, [], None),
        ("dark.png", W1): (0.5, True, [], old_rows.LATENT),
        ("bite.png", W2): (5.0, True, old_rows.REGIONS, old_rows.LATENT),
        ("ring.png", W2): (2.0, True, old_rows.REGIONS, old_rows.LATENT),
    }
    # a map is in units of the threshold that its image was scored with
    units = {row["model_version"]: row["map_unit"] for row in tables["judgements"]}
    assert units == {W1: 2.0, W2: 1.5, T1: 3.0}
    assert not any(row["is_current"] for row in tables["judgements"] if row["delivery_key"] == FIRST)
    assert {row["outcome"] for row in tables["judgements"]} == {"scored"}


def test_people_ask_and_find_what_they_found_before(old_url: str, tables: Tables) -> None:
    engine = database.connect(old_url)
    with engine.connect() as connection:
        flagged = connection.execute(
            sa.text("SELECT line, name, is_latest FROM anomalies ORDER BY line, name, is_latest")
        )
        assert [tuple(row) for row in flagged] == [
            ("tiles", "crack.png", 1),
            ("washers", "b.png", 1),
            ("washers", "bite.png", 0),
            ("washers", "bite.png", 1),
            ("washers", "ring.png", 1),
        ]
        rates = connection.execute(sa.text("SELECT * FROM daily_rates WHERE line = 'washers' AND num_scored > 0"))
        assert {
            row.night.day if hasattr(row.night, "day") else int(row.night[-2:]): tuple(row)[2:] for row in rates
        } == {
            # images, quarantined, failed, out of limits, scored, flagged, confirmed, false alarms
            29: (5, 1, 0, 0, 3, 2, 1, 1),
            30: (3, 1, 0, 0, 2, 1, 0, 0),
        }
    engine.dispose()


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
    assert [(row["event"], row["from_version"], row["to_version"]) for row in tables["ledger"]] == [
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
    refusal, rollback = tables["ledger"][6], tables["ledger"][9]
    assert refusal["reasons"][1].startswith("REFUSED: synthetic AUROC")
    assert (rollback["author"], rollback["note"], rollback["decided_at"]) == ("bob", "lens was dirty", old_rows.at(29))
    states = {row["model_version"]: row["state"] for row in tables["model_versions"]}
    assert states == {W1: "promoted", W2: "rolled_back", W3: "refused", T1: "promoted", T2: "awaiting"}


def test_the_next_entry_of_the_ledger_comes_after_all_others(old_url: str, tables: Tables) -> None:
    engine = database.connect(old_url)
    ledger = sa.Table("ledger", sa.MetaData(), autoload_with=engine)
    copied = {name: value for name, value in tables["ledger"][0].items() if name != "entry_id"}
    with engine.begin() as connection:
        connection.execute(sa.insert(ledger).values(**copied))
        assert connection.scalar(sa.select(sa.func.max(ledger.c.entry_id))) == len(tables["ledger"]) + 1
    engine.dispose()


@pytest.mark.sqlite_only("PostgreSQL has always refused what is no JSON")
def test_infinity_in_the_ledger_becomes_null(new_database_url: str) -> None:
    write_old_database(new_database_url)
    engine = database.connect(new_database_url)
    with engine.begin() as connection:
        connection.execute(sa.text('UPDATE promotions SET figures = \'{"score_difference": Infinity, "b": NaN}\''))
    engine.dispose()
    database.open_database(new_database_url).dispose()
    assert {str(row["figures"]) for row in read_tables(new_database_url)["ledger"]} == {
        "{'score_difference': None, 'b': None}"
    }


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
