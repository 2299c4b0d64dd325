from __future__ import annotations

from cae_pipeline.steps.night.portions import MAX_MAPPED_TASKS, share_out


def test_a_portion_stays_below_what_airflow_maps() -> None:
    assert MAX_MAPPED_TASKS <= 1024


def test_lines_take_turns_until_the_portion_is_full() -> None:
    assert share_out({"a": 10, "b": 1, "c": 10}, 6) == {"a": 3, "b": 1, "c": 2}


def test_what_fits_is_handed_out_whole() -> None:
    assert share_out({"a": 2, "b": 0}, 1000) == {"a": 2, "b": 0}
    assert share_out({}, 1000) == {}
