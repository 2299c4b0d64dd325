"""Lay the solar cells of `elpv-dataset` out as MVTec AD lays out its sets, to measure on.

    python -m infra.demo.sets DIR

Normal cells (probability of a defect 0), sorted and shuffled with seed 0: the first 412 (mono) and
644 (poly) train, the others are tested beside all that are surely defective (probability 1).
Licence of the images: CC BY-NC-SA 4.0, not for commercial use; see the README.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from infra.demo.deliver import NUM_TRAINING, read_cells


def main() -> None:
    """Write DIR/elpv-mono and DIR/elpv-poly."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m infra.demo.sets DIR")
    for kind, count in NUM_TRAINING.items():
        cells = sorted(read_cells(kind), key=lambda cell: cell.name)
        normal = [cell for cell in cells if cell.probability == 0]
        random.Random(0).shuffle(normal)  # noqa: S311
        defective = [cell for cell in cells if cell.probability == 1]
        target = Path(sys.argv[1]) / f"elpv-{kind}"
        parts = {"train/good": normal[:count], "test/good": normal[count:], "test/defective": defective}
        for part, members in parts.items():
            (target / part).mkdir(parents=True, exist_ok=True)
            for cell in members:
                (target / part / cell.name).write_bytes(cell.content)
        print(f"{target}: {', '.join(f'{len(members)} {part}' for part, members in parts.items())}")


if __name__ == "__main__":
    main()
