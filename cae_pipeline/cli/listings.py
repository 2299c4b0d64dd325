"""Lists of rows: a page in a table, all rows in an export, and how many there are where some are left out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cae_pipeline.cli.exports import Kinds, Row
from cae_pipeline.cli.printing import Format, print_rows
from cae_pipeline.cli.shared import (
    FormatOption,
    LineOption,
    OutOption,
    PageOption,
    PageSizeOption,
    SortOption,
    check_line,
    open_services,
)

if TYPE_CHECKING:
    from cae_pipeline.adapters.results.queries.paging import Page

TABLE_ROWS = 50
"""Rows on a page of a table where nothing else is asked for."""

Add = Callable[[dict[str, Any], Path], dict[str, Any]]
"""What is added to a row for people, given the workspace."""


@dataclass(frozen=True)
class Listing:
    """A command that lists rows: which query, sorted how, showing what.

    Attributes:
        module: Of `adapters.results.queries`.
        row_type: Its dataclass of a row.
        each: Its function that reads the rows one by one.
        count: Its function that counts them.
        sort: Column, with a minus for falling order.
        columns: Shown in a table, separated by spaces; the other formats hold all.
        help: What `--help` says.
        add: What is added to each row for people.
        added: The columns that `add` adds.
    """

    module: str
    row_type: str
    each: str
    count: str
    sort: str
    columns: str
    help: str
    add: Add = lambda row, workspace: {}
    added: Kinds = field(default_factory=dict)


def command_of(listing: Listing) -> Callable[..., None]:
    """Make the command that prints a listing."""

    def command(
        line: LineOption = None,
        sort: SortOption = listing.sort,
        page: PageOption = 1,
        page_size: PageSizeOption = None,
        how: FormatOption = Format.TABLE,
        out: OutOption = None,
    ) -> None:
        from importlib import import_module

        from cae_pipeline.cli.exports import kinds_of

        module = import_module(f"cae_pipeline.adapters.results.queries.{listing.module}")
        settings, services = open_services()
        kinds = {**kinds_of(getattr(module, listing.row_type)), **listing.added}
        wanted = page_of(sort, page, page_size, how=how)
        with services.read() as connection:
            check_line(connection, line, settings)
            rows = getattr(module, listing.each)(connection, line, wanted)
            shown = ({**(row := asdict(one)), **listing.add(row, services.workspace)} for one in rows)
            counted = CountedRows(shown)
            print_rows(counted, how=how, kinds=kinds, columns=listing.columns.split(), out=out)
            tell_rest(counted.num_rows, lambda: getattr(module, listing.count)(connection, line), wanted)

    return command


def page_of(sort: str, page: int, page_size: int | None, *, how: Format) -> Page:
    """Which rows are wanted: an export holds all of them unless a page is asked for."""
    from cae_pipeline.adapters.results.queries.paging import Page

    is_paged = how is Format.TABLE or page > 1
    return Page(sort, page, page_size or (TABLE_ROWS if is_paged else None))


class CountedRows:
    """Rows that are counted while they are taken.

    Attributes:
        num_rows: How many were taken up to now.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows, self.num_rows = rows, 0

    def __iter__(self) -> Iterator[Row]:
        """Hand the rows on."""
        for row in self._rows:
            self.num_rows += 1
            yield row


def tell_rest(num_shown: int, count: Callable[[], int], page: Page) -> None:
    """Say on standard error how many rows there are where some were left out; what is not needed is not counted."""
    if page.page_size is None or (page.page == 1 and num_shown < page.page_size):
        return
    total = count()
    if total > num_shown:
        is_last = page.page * page.page_size >= total
        tell_left_out(num_shown, total, how_to="" if is_last else f"--page {page.page + 1} for the next, ")


def tell_left_out(num_shown: int, total: int, *, how_to: str) -> None:
    """Say that rows were left out, and how to have them.

    Args:
        num_shown: Rows that were printed.
        total: Rows in all, as `count_rows` counts.
        how_to: What else to do, before a comma and a space; may be empty.
    """
    from cae_pipeline.adapters.results.queries.paging import MAX_COUNTED

    # beneath the table, though another stream
    sys.stdout.flush()
    counted = f"more than {MAX_COUNTED:,}" if total > MAX_COUNTED else f"{total:,}"
    size = "" if total > MAX_COUNTED else f"--page-size {total} or "
    print(f"{num_shown:,} of {counted} rows; {how_to}{size}--format csv for all", file=sys.stderr)
