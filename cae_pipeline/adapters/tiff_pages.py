"""Find the main picture of a TIFF among previews and reduced pages.

A TIFF is a chain of directories, one for each page, and a directory may point at further ones below it. A page says
with a tag whether it is a reduced version or a mask of another page. Pillow reads the first page of the chain; the file
is therefore handed on with the main page put first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cae_pipeline.domain.outcome import Reason
from cae_pipeline.errors import UnreadableImageError

NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE, ORIENTATION, SUB_DIRECTORIES = 254, 255, 274, 330
REDUCED_OR_MASK = 0b101
"""Bits of the tag NewSubfileType of a page that is no picture of its own."""
OLD_REDUCED = 2
"""Value of the tag SubfileType, which older writers use, of a page that is a reduced version."""
MAX_PAGES = 64
"""Pages that are looked at: a file built to have no end must end here."""
MAX_TAGS = 4096
"""Tags of a page that are looked at."""
SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
"""Bytes of a whole number of each type."""


@dataclass(frozen=True)
class Layout:
    """How a file writes its numbers.

    Attributes:
        order: `<` or `>`, as `struct` wants it.
        is_big: Whether places in the file have eight bytes instead of four.
    """

    order: str
    is_big: bool

    @property
    def first_at(self) -> int:
        """Where the place of the first page is written."""
        return 8 if self.is_big else 4

    def place(self, content: bytes, at: int) -> int:
        """Read one place in the file."""
        [place] = struct.unpack_from(self.order + ("Q" if self.is_big else "I"), content, at)
        return int(place)


@dataclass(frozen=True)
class Page:
    """One directory: where it begins, what is written where in it, and where the next one begins (0: nowhere)."""

    offset: int
    tags: dict[int, tuple[int, int, int]]
    next_offset: int


def with_main_page_first(content: bytes) -> bytes:
    """Give a file in which the first page is the main picture.

    The main picture is the only page of the chain that is no reduced version and no mask. Where all pages of the chain
    are, as in raw files whose first page is a preview, it is the only such page below them.

    Args:
        content: Of a file of any format; what is no TIFF, or is broken, comes back as it is.

    Raises:
        UnreadableImageError: If several pages are of equal rank, or none is a picture of its own among several.
    """
    layout = _layout(content)
    if layout is None:
        return content
    chain = list(_chain(content, layout))
    if len(chain) <= 1 and not (chain and _is_reduced(content, chain[0], layout)):
        return content
    main = [page for page in chain if not _is_reduced(content, page, layout)]
    if not main:
        below = [page for above in chain for page in _below(content, above, layout)]
        main = [page for page in below if not _is_reduced(content, page, layout)] or chain
    if len(main) > 1:
        raise UnreadableImageError(Reason.MULTIPLE_FRAMES, f"{len(main)} pages of equal rank, expected one")
    first = struct.pack(layout.order + ("Q" if layout.is_big else "I"), main[0].offset)
    return content[: layout.first_at] + first + content[layout.first_at + len(first) :]


def numbers_of_first_page(content: bytes, *tags: int) -> list[int | None]:
    """Read the first whole number of some tags of the first page; None for a tag that is not there, or no TIFF."""
    layout = _layout(content)
    page = next(_chain(content, layout), None) if layout else None
    if layout is None or page is None:
        return [None for _ in tags]
    try:
        return [next(iter(_numbers(content, page, tag, layout)), None) for tag in tags]
    except (struct.error, OverflowError):
        return [None for _ in tags]


def without_orientation(content: bytes) -> bytes:
    """Give the file with the tag Orientation of its first page saying that nothing is to be turned."""
    layout = _layout(content)
    page = next(_chain(content, layout), None) if layout else None
    if layout is None or page is None or ORIENTATION not in page.tags:
        return content
    kind, _, at = page.tags[ORIENTATION]
    upright = (1).to_bytes(SIZES.get(kind, 2), "little" if layout.order == "<" else "big")
    return content[:at] + upright + content[at + len(upright) :]


def _layout(content: bytes) -> Layout | None:
    kinds = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
    found = kinds.get(content[:4])
    return Layout(*found) if found else None


def _chain(content: bytes, layout: Layout) -> Iterator[Page]:
    """The pages one after the other, as far as they can be read, each once."""
    seen: set[int] = set()
    try:
        offset = layout.place(content, layout.first_at)
        while offset and offset not in seen and len(seen) < MAX_PAGES:
            seen.add(offset)
            page = _page(content, offset, layout)
            yield page
            offset = page.next_offset
    except (struct.error, OverflowError):
        return


def _below(content: bytes, page: Page, layout: Layout) -> Iterator[Page]:
    """The pages that a page points at, as far as they can be read."""
    try:
        for offset in _numbers(content, page, SUB_DIRECTORIES, layout):
            yield _page(content, offset, layout)
    except (struct.error, OverflowError):
        return


def _page(content: bytes, offset: int, layout: Layout) -> Page:
    counts, entry = ("Q", 20) if layout.is_big else ("H", 12)
    [num_tags] = struct.unpack_from(layout.order + counts, content, offset)
    first = offset + struct.calcsize("<" + counts)
    tags = {}
    for at in range(first, first + entry * min(num_tags, MAX_TAGS), entry):
        tag, kind = struct.unpack_from(layout.order + "HH", content, at)
        # the value stands in the entry itself where it is short enough
        place = at + entry - (8 if layout.is_big else 4)
        tags[tag] = (kind, layout.place(content, at + 4), place)
    after = first + entry * num_tags
    # writers forget the end of the chain at the end of the file
    is_whole = after + (8 if layout.is_big else 4) <= len(content)
    return Page(offset, tags, layout.place(content, after) if is_whole else 0)


def _numbers(content: bytes, page: Page, tag: int, layout: Layout) -> list[int]:
    """Read the whole numbers of a tag; none where the page does not have it."""
    if tag not in page.tags:
        return []
    kind, count, at = page.tags[tag]
    size = SIZES.get(kind, 4)
    count = min(count, MAX_PAGES)
    start = at if size * count <= (8 if layout.is_big else 4) else layout.place(content, at)
    code = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    return list(struct.unpack_from(f"{layout.order}{count}{code}", content, start))


def _is_reduced(content: bytes, page: Page, layout: Layout) -> bool:
    try:
        new = _numbers(content, page, NEW_SUBFILE_TYPE, layout)
        old = _numbers(content, page, OLD_SUBFILE_TYPE, layout)
    except (struct.error, OverflowError):
        return False
    return bool(new and new[0] & REDUCED_OR_MASK) or bool(old and old[0] == OLD_REDUCED)
