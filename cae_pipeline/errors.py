"""One tree of errors.

::

    CaeError                        what every error of ours can be caught as
    ├── ConfigurationError          a setting or the lines file cannot be used
    │   ├── ShapeNotRestoredError   the decoder does not give the input size back
    │   ├── DatabaseSilentError     the results database does not answer           (retry helps)
    │   └── TrackingSilentError     MLflow does not answer                         (retry helps)
    ├── NotFoundError               a line, batch, image or version that is not there
    ├── BatchNotReadyError          files are still arriving                     (retry helps)
    ├── BatchRejectedError          a batch fails as a whole
    ├── TooFewNormalImagesError     a threshold or a training needs more images
    ├── TooFewVerdictsError         a threshold needs more confirmed defects
    ├── NoChampionError             nothing may score this line yet
    ├── ArtefactError               stored weights are not those our table knows
    ├── NonFiniteScoreError         a score is NaN or infinite
    ├── UnreadableImageError        one image; becomes its reason, never stops a batch
    ├── StorageError                files or memory are out of reach just now    (retry helps)
    ├── ConcurrentChangeError       somebody else changed the row first          (retry helps)
    ├── LinesFailedError            a step could not do its work for some lines  (retry may help)
    ├── ProcessFailedError          a process of its own ended badly             (retry helps)
    └── StepFailedError             a `cae` process ended badly                  (retry helps)
        └── StepRefusedError        … and would end so again

`retryable` says whether the same call can succeed later without a person's doing.
A message says what, where, expected, received, and what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class CaeError(Exception):
    """Anything this package raises on purpose."""

    retryable = False


class ConfigurationError(CaeError):
    """A setting or the lines file cannot be used."""


class ShapeNotRestoredError(ConfigurationError):
    """The decoder does not give back the size the encoder was given."""

    def __init__(self, layer: str, *, expected_px: int, received_px: int, axis: str, advice: str) -> None:
        self.layer, self.expected_px, self.received_px = layer, expected_px, received_px
        super().__init__(
            f"layer {layer!r} restores a {axis} of {received_px} px where {expected_px} px went in "
            f"(off by {received_px - expected_px:+d}). {advice}"
        )


class DatabaseSilentError(ConfigurationError):
    """The results database does not answer, or lets nobody in: it may be down, or be written wrongly."""

    retryable = True


class TrackingSilentError(ConfigurationError):
    """MLflow does not answer: it may be down, or its address be written wrongly."""

    retryable = True


class NotFoundError(CaeError):
    """Something was asked for by a name nobody knows; says which known name is nearest."""

    def __init__(self, kind: str, name: str, *, known: Sequence[str] = (), advice: str = "") -> None:
        self.kind, self.name = kind, name
        nearest = nearest_name(name, known)
        meant = f" Did you mean {nearest!r}?" if nearest else ""
        listed = f" Known: {', '.join(list(known)[:20])}{', …' if len(known) > 20 else ''}." if known else ""
        super().__init__(f"no {kind} {name!r}.{meant}{listed}{' ' + advice if advice else ''}")


def nearest_name(name: str, known: Sequence[str]) -> str:
    """The known name that is most like a misspelt one, capital letters aside; empty where none is like it.

    Example:
        >>> nearest_name("Wahsers", ["cells", "washers"])
        'washers'
    """
    by_spelling = {other.lower(): other for other in known}
    found = get_close_matches(name.lower(), list(by_spelling), n=1, cutoff=0.5)
    return by_spelling[found[0]] if found else ""


class BatchNotReadyError(CaeError):
    """Files of the batch may still be arriving."""

    retryable = True


class BatchRejectedError(CaeError):
    """A batch fails as a whole; its images are quarantined, its files stay."""

    def __init__(self, batch_id: str, *, failed: Sequence[str]) -> None:
        self.batch_id, self.failed = batch_id, tuple(failed)
        super().__init__(f"batch {batch_id!r} is rejected: " + "; ".join(failed))


class TooFewNormalImagesError(CaeError):
    """There are fewer normal images than a promise needs."""

    def __init__(self, what: str, *, received: int, needed: int, advice: str) -> None:
        self.received, self.needed = received, needed
        super().__init__(f"{what}: expected at least {needed} normal images, received {received}. {advice}")


class TooFewVerdictsError(CaeError):
    """People have confirmed fewer defects than a threshold by verdicts needs."""

    def __init__(self, line: str, *, received: int, needed: int) -> None:
        self.line, self.received, self.needed = line, received, needed
        super().__init__(
            f"a threshold by verdicts on line {line!r}: expected at least {needed} confirmed defects that the champion "
            f"has scored, received {received}. Judge more images (`cae queue --line {line}`), or fit one to a rate of "
            "false alarms, which needs no verdicts."
        )


class NoChampionError(CaeError):
    """The line has no model that may score; its images wait as accepted."""

    def __init__(self, line: str) -> None:
        self.line = line
        super().__init__(
            f"line {line!r} has no champion yet; its accepted images wait. "
            f"Run `cae train {line}` or trigger train_model."
        )


class ArtefactError(CaeError):
    """A stored model is missing or is not the one that was registered."""


class NonFiniteScoreError(CaeError):
    """A score is NaN or infinite; it must never read as normal."""


class UnreadableImageError(CaeError):
    """One file cannot become an image; `reason` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")

    def __reduce__(self) -> tuple[type[UnreadableImageError], tuple[str, str]]:
        """Survive the trip back from a decoding process."""
        return type(self), (self.reason, self.detail)


class StorageError(CaeError):
    """Files or memory are out of reach just now; it decides nothing about what they hold."""

    retryable = True

    def __init__(self, path: Path, problem: Exception) -> None:
        self.path = path
        super().__init__(
            f"{path} cannot be read just now: {type(problem).__name__}: {problem}. Nothing was decided about it; "
            "check the share and the disk, and run this again."
        )


class ConcurrentChangeError(CaeError):
    """A compare-and-swap found another value than it was told."""

    retryable = True


class LinesFailedError(CaeError):
    """A step has done its work for all lines but these; it says so after the others were done."""

    def __init__(self, failed: Mapping[str, str], *, retryable: bool) -> None:
        self.failed, self.retryable = dict(failed), retryable
        told = "; ".join(f"{line}: {reason}" for line, reason in failed.items())
        super().__init__(f"{len(failed)} of the lines failed, the others were done: {told}")


class ProcessFailedError(CaeError):
    """A process that was started for one piece of work ended without a result.

    Attributes:
        command: The module and its arguments.
        exit_code: Negative where a signal ended it; None where it took longer than it was given.
        last_words: The last lines it wrote to standard error.
        result: The JSON object it printed last, if it printed one.
    """

    retryable = True

    def __init__(
        self,
        command: str,
        *,
        exit_code: int | None,
        timeout_seconds: float | None,
        last_words: Sequence[str],
        result: Mapping[str, Any] | None,
    ) -> None:
        self.command, self.exit_code, self.timeout_seconds = command, exit_code, timeout_seconds
        self.last_words, self.result = tuple(last_words), result
        super().__init__(f"`python -m {command}` {self.ending}")

    @property
    def ending(self) -> str:
        """How the process ended and why, as the rest of a sentence."""
        if self.exit_code is None:
            return f"took over {self.timeout_seconds:g} s and was stopped: {self.reason}"
        if self.exit_code == 0:
            return "ended well but printed no JSON object as its last line"
        return f"ended with exit code {self.exit_code}: {self.reason}"

    @property
    def reason(self) -> str:
        """The sentence in which one of our commands says what is wrong, else its last 15 lines."""
        sentences = [line.removeprefix("cae: ") for line in self.last_words if line.startswith("cae: ")]
        return sentences[-1] if sentences else "\n".join(self.last_words[-15:]) or "it said nothing"


class StepFailedError(CaeError):
    """A `cae` process ended with an error that a retry may cure; `result` is what it printed nevertheless."""

    retryable = True

    def __init__(self, message: str, *, result: Mapping[str, Any] | None = None) -> None:
        self.result = result
        super().__init__(message)


class StepRefusedError(StepFailedError):
    """A `cae` process refused for a reason that a retry will meet again."""

    retryable = False
