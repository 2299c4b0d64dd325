"""A batch as it is held against the expectations, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from cae_pipeline.domain.facts import FACTS, ImageFacts
from cae_pipeline.domain.outcome import Reason
from cae_pipeline.domain.suite import FRAMES_IN_A_ROW, LINE_DISTANCE, TURN_GAIN, BatchExpectation, ImageExpectation

MEANINGS = {
    "decoding": "whether the file could be read as an image, or why not",
    "duplicate_of": "the earlier image with the same bytes",
    LINE_DISTANCE: "how unlike the line's normal images it is; about 1 is usual",
    TURN_GAIN: "by how much it would be less unlike them, turned by a quarter",
    FRAMES_IN_A_ROW: "images in a row, by name, that are this picture; 1 for the first of them",
    "near_duplicate_of": "the earlier image that looks almost the same",
    **{name: fact.meaning for name, fact in FACTS.items()},
}
"""Column of the table of facts → what it holds, in words."""


@dataclass(frozen=True)
class FactsRow:
    """One image of a batch as it is held against the expectations.

    Attributes:
        reason: Why there are no facts; None where there are.
        detail: More about that reason, for people.
        duplicate_of: Id of the earlier image with the same bytes.
        near_duplicate_of: Id of the earlier image that looks almost the same.
        line_distance: How unlike the line's normal images it is; None where nothing is learnt.
        turn_gain: By how much it would be less unlike them if it were turned by a quarter; None where it would still
            be unlike them.
        frames_in_a_row: Images in a row that are this picture; 1 for the first of them.
    """

    name: str
    facts: ImageFacts | None
    reason: Reason | None = None
    detail: str = ""
    duplicate_of: str | None = None
    near_duplicate_of: str | None = None
    line_distance: float | None = None
    turn_gain: float | None = None
    frames_in_a_row: int = 1


@dataclass(frozen=True)
class ImageFailure:
    """One image that fails one expectation; `row_id` is its place among the rows of the batch, from 0."""

    row_id: int
    name: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class ImageResult:
    """What came of one expectation about images.

    Attributes:
        seen: What the column holds in this batch, in words: a span of numbers, or the different texts.
        num_checked: Images whose column holds anything; the others cannot fail.
        failures: In the order of the rows.
    """

    expectation: ImageExpectation
    seen: str
    num_checked: int
    failures: tuple[ImageFailure, ...]

    @property
    def is_met(self) -> bool:
        """Whether no image fails."""
        return not self.failures


@dataclass(frozen=True)
class BatchResult:
    """What came of one expectation about the batch; `seen` is the number in words."""

    expectation: BatchExpectation
    seen: str
    is_met: bool


@dataclass(frozen=True)
class BatchValidation:
    """What came of all expectations, in the order of the suite; `suite_name` names line and batch."""

    suite_name: str
    num_images: int
    of_images: tuple[ImageResult, ...]
    of_batch: tuple[BatchResult, ...]

    @property
    def failures(self) -> tuple[ImageFailure, ...]:
        """All failures, those of one image together; the first of an image is its reason."""
        return tuple(
            sorted((failure for result in self.of_images for failure in result.failures), key=lambda one: one.row_id)
        )

    @property
    def num_quarantined(self) -> int:
        """Images that fail an expectation which keeps them from scoring."""
        return len(
            {
                failure.row_id
                for result in self.of_images
                for failure in result.failures
                if failure.reason.hides or result.expectation.column == "decoding"
            }
        )

    @property
    def num_odd(self) -> int:
        """Images that fail some expectation and are scored all the same."""
        return len({failure.row_id for failure in self.failures}) - self.num_quarantined

    @property
    def num_expectations(self) -> int:
        """About images and about the batch."""
        return len(self.of_images) + len(self.of_batch)

    @property
    def num_met(self) -> int:
        """Expectations that nothing failed."""
        return sum(result.is_met for result in self.of_images) + sum(result.is_met for result in self.of_batch)

    @property
    def rejected_for(self) -> tuple[str, ...]:
        """One sentence per failed expectation about the batch; empty if the batch is not rejected."""
        return tuple(
            f"{result.expectation.subject}: seen {result.seen}, wanted {result.expectation.wanted}"
            for result in self.of_batch
            if not result.is_met
        )
