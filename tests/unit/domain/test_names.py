from __future__ import annotations

import os
import unicodedata

import pytest

from cae_pipeline.domain.names import MAX_LENGTH, as_on_disk, readable, shortened


@pytest.mark.parametrize(
    "content",
    [b"st\xfcck_1.png", b"a\nb\tc.png", b"back\\slash\\xfc.png", b"\x80\xff.png", 'über 100% #1 & "x".png'.encode()],
)
def test_a_name_of_any_bytes_can_be_read_and_read_back(content: bytes) -> None:
    name = readable(os.fsdecode(content))
    assert name.encode("utf-8").decode("utf-8") == name
    assert not set(name) & set("\n\t\x00")
    assert os.fsencode(as_on_disk(name)) == content


def test_letters_of_any_script_stay_as_they_are() -> None:
    for name in ("Größe 5.png", "部品_01.png", "a&b?c#d.png", "'quoted'.png"):
        assert readable(name) == name


def test_a_name_has_the_same_letters_in_either_normal_form() -> None:
    assert readable(unicodedata.normalize("NFD", "Größe.png")) == "Größe.png"


def test_spelt_out_exactly_both_normal_forms_differ() -> None:
    assert readable("é", exactly=True) == r"\xc3\xa9"
    assert readable("e\u0301", exactly=True) == r"e\xcc\x81"


def test_a_direction_that_turns_the_text_around_is_spelt_out() -> None:
    assert readable("a\u202egnp.exe") == r"a\xe2\x80\xaegnp.exe"


def test_a_lone_surrogate_of_a_manifest_is_spelt_out() -> None:
    assert readable("a\ud800.png") == r"a\xed\xa0\x80.png"


def test_a_long_name_is_cut_keeps_its_end_and_stays_another_one() -> None:
    one, two = shortened("a/" * 200 + "0001.png"), shortened("a/" * 201 + "0001.png")
    assert len(one) == len(two) == MAX_LENGTH
    assert one.endswith("0001.png")
    assert one != two
    assert shortened("a" * MAX_LENGTH) == "a" * MAX_LENGTH
