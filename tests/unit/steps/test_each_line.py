from __future__ import annotations

import pytest

from cae_pipeline.domain.line import Line
from cae_pipeline.errors import ArtefactError, CaeError, ConcurrentChangeError, LinesFailedError, NoChampionError
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line

LINES = [Line("first"), Line("second"), Line("third")]


def _done(error: Exception) -> LinesDone[str]:
    def work(line: Line) -> str:
        if line.name == "second":
            raise error
        return line.name.upper()

    return for_each_line(LINES, work)


@pytest.mark.parametrize("error", [ArtefactError("tampered"), OSError("share"), ZeroDivisionError("bug")])
def test_the_lines_after_one_that_fails_are_done(error: Exception) -> None:
    done = _done(error)
    assert done.results == {"first": "FIRST", "third": "THIRD"}
    assert list(done.failed) == ["second"]
    assert str(error) in done.failed["second"]


@pytest.mark.parametrize(
    ("error", "retryable"),
    [(ArtefactError("tampered"), False), (ConcurrentChangeError("swapped"), True), (OSError("share"), True)],
)
def test_a_retry_is_worth_it_where_the_error_says_so_or_nobody_has_foreseen_it(
    error: Exception, retryable: bool
) -> None:
    with pytest.raises(LinesFailedError, match="second: ") as caught:
        _done(error).check()
    assert caught.value.retryable is retryable


def test_a_line_without_a_champion_waits_and_fails_nothing() -> None:
    done = _done(NoChampionError("second"))
    assert (list(done.results), done.failed) == (["first", "third"], {})
    done.check()


def test_who_stops_the_program_stops_it() -> None:
    def work(line: Line) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for_each_line(LINES, work)


def test_the_error_is_one_of_ours() -> None:
    assert issubclass(LinesFailedError, CaeError)
