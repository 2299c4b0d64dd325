"""Do a piece of work for every line, so that trouble with one line never reaches its neighbour."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from cae_pipeline.domain.line import Line
from cae_pipeline.errors import CaeError, LinesFailedError, NoChampionError

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True)
class LinesDone(Generic[T]):
    """What became of each line.

    Attributes:
        results: By the line's name, where the work was done.
        failed: By the line's name, why it was not. Lines that wait for a champion are in neither.
        retryable: Whether a retry may help at least one of those that failed.
    """

    results: dict[str, T]
    failed: dict[str, str]
    retryable: bool

    def check(self) -> None:
        """Say after the work which lines failed.

        Raises:
            LinesFailedError: If any did.
        """
        if self.failed:
            raise LinesFailedError(self.failed, retryable=self.retryable)


def for_each_line(lines: Iterable[Line], work: Callable[[Line], T]) -> LinesDone[T]:
    """Do some work for every line, whatever happens with the lines before.

    Args:
        lines: Are worked on in this order.
        work: Raises `NoChampionError` where a line has to wait, which is no failure.
    """
    results: dict[str, T] = {}
    failed: dict[str, str] = {}
    retryable = False
    for line in lines:
        try:
            results[line.name] = work(line)
        except NoChampionError as error:
            log.warning("line_waits", line=line.name, reason=str(error))
        except CaeError as error:
            # our own errors say what is wrong; a traceback would add nothing
            log.error("line_failed", line=line.name, reason=str(error))  # noqa: TRY400
            failed[line.name] = str(error)
            retryable |= error.retryable
        except Exception as error:
            # whatever it is, the other lines must be done; what nobody has foreseen may pass
            log.exception("line_failed", line=line.name)
            failed[line.name] = f"{type(error).__name__}: {error}"
            retryable = True
    return LinesDone(results, failed, retryable)
