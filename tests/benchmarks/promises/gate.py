"""Does the gate refuse every bad model, and let good retrainings through?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results import model_versions
from cae_pipeline.adapters.results.model_versions import Registration
from cae_pipeline.detector.artefact import save_artefact
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.promotion import Decision
from cae_pipeline.errors import ArtefactError
from cae_pipeline.statistics.conformal import Threshold
from cae_pipeline.steps.life.promote import promote_challenger, roll_back
from tests import asking
from tests.benchmarks.promises.candidates import Candidate, Faults, badly_trained, trained
from tests.benchmarks.promises.cells import Cells

GOOD_SEEDS = range(1, 8)
LEFT_OUT = range(3)
"""Good retrainings: seven with other seeds, three with another tenth of the normal images left out."""


def measure(cells: Cells) -> dict[str, Any]:
    """Put all of them before the gate of the first line, against the same champion."""
    name, other = list(cells.lines)[:2]
    line = cells.lines[name]
    faults = Faults(cells, name)
    bad = [_judged(cells, line, candidate) for candidate in _all_bad(cells, line, faults, other)]
    bad.append(_with_a_broken_file(cells, line, faults))
    good = [_judged(cells, line, candidate) for candidate in _good(cells, line)]
    return {
        "bad_models_refused": sum(not row["promoted"] for row in bad),
        "bad_models": len(bad),
        "good_models_accepted": sum(row["promoted"] for row in good),
        "good_models": len(good),
        "bad": bad,
        "good": good,
    }


def _all_bad(cells: Cells, line: Line, faults: Faults, other: str) -> Iterator[Candidate]:
    yield from faults.seeded()
    yield faults.of_another_line(other)
    yield from badly_trained(cells, line)


def _good(cells: Cells, line: Line) -> Iterator[Candidate]:
    images = [row.image for row in cells.trained_on(line.name)]
    pixels = cells.pixels(line.name, images)
    for seed in GOOD_SEEDS:
        yield trained(f"seed {seed}", replace(line, training=replace(line.training, seed=seed)), pixels, images)
    for tenth in LEFT_OUT:
        kept = [position for position in range(len(images)) if position % 10 != tenth]
        yield trained(f"without tenth {tenth}", line, pixels[kept], [images[position] for position in kept])


def _judged(cells: Cells, line: Line, candidate: Candidate) -> dict[str, Any]:
    """Register a candidate and ask the gate; who is let through hands the line back to the first champion."""
    try:
        model_version = _register(cells, line, candidate)
    except sa.exc.IntegrityError as error:
        said = Decision(False, (f"REFUSED: the database refuses it: {str(error.orig).splitlines()[0]}",))
        return _row(candidate.kind, said)
    decision = promote_challenger(line, model_version, cells.services)
    if decision.promote:
        roll_back(line, cells.services, note="the next one is held against the same champion")
    return _row(candidate.kind, decision)


def _with_a_broken_file(cells: Cells, line: Line, faults: Faults) -> dict[str, Any]:
    [candidate] = [one for one in faults.seeded() if one.kind == "threshold tenfold"]
    services = cells.services
    version = asking.version(services, _register(cells, line, candidate))
    networks = services.model_folder(version.artefact_sha256) / "networks.onnx"
    content = bytearray(networks.read_bytes())
    content[len(content) // 2] ^= 1
    networks.write_bytes(content)
    kind = "one bit of the file changed"
    try:
        return _row(kind, promote_challenger(line, version.model_version, services))
    except ArtefactError as error:
        told = str(error).replace(str(services.workspace), "workspace")
        return _row(kind, Decision(False, (f"REFUSED: {told}",)))


def _row(kind: str, decision: Decision) -> dict[str, Any]:
    reasons = [reason.removeprefix("REFUSED: ") for reason in decision.reasons if reason.startswith("REFUSED")]
    return {"kind": kind, "promoted": decision.promote, "reasons": reasons}


def _register(cells: Cells, line: Line, candidate: Candidate) -> str:
    services = cells.services
    with services.read() as connection:
        number = 1 + len(model_versions.versions_of(connection, None)) + 100
    with tempfile.TemporaryDirectory(dir=services.workspace / "models") as temporary:
        fresh = Path(temporary) / "scorer"
        lineage = {"kind": candidate.kind}
        sha256 = save_artefact(
            candidate.scorer, fresh, graph=candidate.graph, weights=candidate.weights, lineage=lineage
        )
        if not services.model_folder(sha256).exists():
            fresh.rename(services.model_folder(sha256))
    made = Registration(
        model_version=f"cae-{line.name}/{number}",
        line=line.name,
        version=number,
        run_id="seeded",
        artefact_uri="",
        artefact_sha256=sha256,
        snapshot_sha256="",
        figures={},
        registered_at=services.clock(),
    )
    count = len(candidate.scorer.normal_scores)
    threshold = Threshold(candidate.threshold, line.target_false_alarm_rate, 1, count)
    with services.write() as work:
        version = model_versions.register(work.connection, made, threshold, members=candidate.members)
        work.commit()
    return version.model_version
