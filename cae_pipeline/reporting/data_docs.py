"""Data Docs: the page about one batch, what was expected of it and what came of that.

Great Expectations' own page cannot be made safe by its public interface: it puts names of files and folders into the
page as they are. This one is made from the same results.
"""

from __future__ import annotations

from datetime import datetime

from cae_pipeline.domain.validation import MEANINGS, BatchValidation
from cae_pipeline.reporting.pages import render_page

MAX_EXAMPLES = 20
"""Failing images shown of each expectation; all of them are in the results table."""


def render_data_docs(validation: BatchValidation, *, made_at: datetime) -> str:
    """Render the page of one batch.

    Args:
        validation: What came of each expectation.
        made_at: When the batch was validated, aware.
    """
    return render_page(
        "data-docs.html",
        validation=validation,
        meanings=MEANINGS,
        max_examples=MAX_EXAMPLES,
        made_at=made_at,
    )
