"""The page that lists what else there is to read."""

from __future__ import annotations

from collections.abc import Sequence

from cae_pipeline.reporting.pages import render_page


def render_report_list(*, nights: Sequence[str], decisions: Sequence[str]) -> str:
    """Render the list of reports.

    Args:
        nights: Names of the nights' reports, without `.html`, in the order to show.
        decisions: Names of the pages about decisions of the gate, likewise.
    """
    return render_page("report-list.html", nights=nights, decisions=decisions)
