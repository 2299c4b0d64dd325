from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cae_pipeline.adapters.decoding import DecodeLimits
from cae_pipeline.domain.line import AreaSettings, Line
from cae_pipeline.errors import ConfigurationError
from cae_pipeline.lines_file import read_lines
from cae_pipeline.steps.life.ignored import read_ignored
from tests.conftest import png

LIMITS = DecodeLimits()
LINE = Line("cells")


def _line(mask: Path | str = "", region: tuple[int, int, int, int] | None = None) -> Line:
    return replace(LINE, area=AreaSettings(str(mask), region))


def _mask(folder: Path, height: int = 60, width: int = 80) -> Path:
    pixels = np.zeros((height, width), np.uint8)
    pixels[: height // 6, : width // 4] = 255
    (folder / "mask.png").write_bytes(png(pixels))
    return folder / "mask.png"


def test_a_line_without_mask_and_region_ignores_nothing() -> None:
    assert read_ignored(LINE, delivered_px=(60, 80), limits=LIMITS) is None


def test_what_is_not_black_in_the_mask_is_ignored_whatever_its_mode(tmp_path: Path) -> None:
    expected = np.zeros((60, 80), np.bool_)
    expected[:10, :20] = True
    for mode in ("L", "1", "RGB", "P"):
        Image.open(_mask(tmp_path)).convert(mode).save(tmp_path / f"{mode}.png")
        ignored = read_ignored(_line(tmp_path / f"{mode}.png"), delivered_px=(60, 80), limits=LIMITS)
        np.testing.assert_array_equal(ignored, expected, mode)


def test_a_mask_of_the_same_aspect_is_resized_and_one_of_another_is_refused_with_both_sizes(tmp_path: Path) -> None:
    line = _line(_mask(tmp_path))
    for delivered_px in ((120, 160), (30, 40), (61, 81)):
        ignored = read_ignored(line, delivered_px=delivered_px, limits=LIMITS)
        assert ignored is not None
        assert ignored.shape == delivered_px
        assert 1 / 24 <= ignored.mean() < 0.06
    with pytest.raises(ConfigurationError, match=r"lines.cells.area.ignore_mask .*80×60 px.*expected 60×80 px"):
        read_ignored(line, delivered_px=(80, 60), limits=LIMITS)


def test_a_mask_that_is_missing_or_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ignore_mask names .*none.png, which cannot be read: No such file"):
        read_ignored(_line(tmp_path / "none.png"), delivered_px=(60, 80), limits=LIMITS)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ConfigurationError, match=r"ignore_mask names .*text.png, which is no picture"):
        read_ignored(_line(tmp_path / "text.png"), delivered_px=(60, 80), limits=LIMITS)


def test_mask_and_region_of_interest_add_up(tmp_path: Path) -> None:
    ignored = read_ignored(_line(_mask(tmp_path), (10, 5, 30, 20)), delivered_px=(60, 80), limits=LIMITS)
    assert ignored is not None
    assert (~ignored).sum() == 30 * 20 - 10 * 5
    assert not ignored[24, 39]
    assert ignored[5, 10]


def test_a_region_beyond_the_image_is_refused_with_the_size_of_the_image() -> None:
    with pytest.raises(ConfigurationError, match=r"reaches to column 81 and row 25; expected at most 80 and 60"):
        read_ignored(_line(region=(51, 5, 30, 20)), delivered_px=(60, 80), limits=LIMITS)


def test_a_mask_that_leaves_nothing_may_be_the_wrong_way_round(tmp_path: Path) -> None:
    (tmp_path / "all.png").write_bytes(png(np.full((60, 80), 255, np.uint8)))
    with pytest.raises(ConfigurationError, match="the wrong way round"):
        read_ignored(_line(tmp_path / "all.png"), delivered_px=(60, 80), limits=LIMITS)


def test_a_relative_mask_lies_beside_the_lines_file(tmp_path: Path) -> None:
    (tmp_path / "lines.toml").write_text(
        '[lines.cells.area]\nignore_mask = "masks/cells.png"\nregion_of_interest = [0, 8, 64, 48]\n'
    )
    area = read_lines(tmp_path / "lines.toml")["cells"].area
    assert area == AreaSettings(str(tmp_path / "masks/cells.png"), (0, 8, 64, 48))
    assert AreaSettings("/far/away.png").beside(tmp_path).ignore_mask == "/far/away.png"


@pytest.mark.parametrize("region", ["[0, 0, 0, 5]", "[-1, 0, 5, 5]", "[1, 2, 3]", '"all"'])
def test_a_region_that_is_none_is_refused_by_its_name(tmp_path: Path, region: str) -> None:
    (tmp_path / "lines.toml").write_text(f"[lines.cells.area]\nregion_of_interest = {region}\n")
    with pytest.raises(ConfigurationError, match=r"lines.cells.area.region_of_interest"):
        read_lines(tmp_path / "lines.toml")
