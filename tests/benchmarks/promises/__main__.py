"""Measure the promises and write them down."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import jinja2

from tests.benchmarks.promises import drift, false_alarms, gate
from tests.benchmarks.promises.cells import build

REPOSITORY = Path(__file__).resolve().parents[3]
TEMPLATE = Path(__file__).with_name("promises.md.j2")


def main() -> None:
    """Run it all, about half an hour on two quiet cores."""
    parser = argparse.ArgumentParser(prog="make promises")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "workspace" / "bench" / "promises.json")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs" / "promises.md")
    words = parser.parse_args()
    words.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="cae-promises-"))
    try:
        cells = build(folder / "workspace")
        figures: dict[str, Any] = {"line": next(iter(cells.lines)), "false_alarms": false_alarms.measure(cells)}
        for part in (drift.measure, gate.measure):
            figures |= part(cells)
            words.out.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True)
    environment.filters |= {"percent": lambda share: f"{share:.1%}".replace("%", " %"), "number": lambda n: f"{n:,}"}
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(figures)
    words.page.write_text(page.strip() + "\n", encoding="utf-8")
    print(f"written to {words.out} and {words.page}")


if __name__ == "__main__":
    main()
