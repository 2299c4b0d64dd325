"""Measure a batch's images, hold them against the expectations, and write down what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import structlog

from cae_pipeline.adapters import expectations, storage
from cae_pipeline.adapters.decoding import Measured, measure_files
from cae_pipeline.adapters.results import batches
from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.domain.batch import Batch, BatchStatus, ImageRecord, ImageStatus, Reason
from cae_pipeline.domain.facts import hash_bytes, hash_distances
from cae_pipeline.domain.limits import FactLimits, limits_for
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.validation import FactsRow, ImageFailure
from cae_pipeline.errors import BatchRejectedError
from cae_pipeline.reporting.data_docs import render_data_docs
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class ValidatedBatch:
    """What became of a batch; `already_there` if an earlier run had done it."""

    line: str
    batch_id: str
    batch_key: str
    num_images: int
    num_quarantined: int
    already_there: bool


@dataclass(frozen=True)
class _Twins:
    """Earlier images each member is the same as, or almost; by row."""

    duplicate_of: dict[int, str]
    near_duplicate_of: dict[int, str]


def validate_batch(line: Line, batch_id: str, services: Services) -> ValidatedBatch:
    """Validate one batch; doing it again changes nothing.

    Raises:
        BatchNotReadyError: If files are still arriving.
        BatchRejectedError: If it fails as a whole, now or when it was validated.
    """
    batch = services.landing.read_batch(line.name, batch_id, now=services.clock())
    before = batches.find_batch(services.engine, batch.batch_key)
    if before is None:
        _validate(line, batch, services)
    row = batches.find_batch(services.engine, batch.batch_key)
    if row is None:
        raise RuntimeError(f"batch {batch.batch_key} was written and is not there")
    result = ValidatedBatch(
        line.name, batch_id, batch.batch_key, row["num_images"], row["num_quarantined"], before is not None
    )
    log.info("batch_validated", status=row["status"], data_docs=row["data_docs_uri"], **asdict(result))
    if row["status"] == BatchStatus.REJECTED:
        raise BatchRejectedError(batch_id, failed=row["rejected_for"].split("; "))
    return result


def _validate(line: Line, batch: Batch, services: Services) -> None:
    normal = image_rows.normal_images(services.engine, line.name, line.training.normal_batches)
    limits = limits_for(line.validation, [image_rows.facts_of(row) for row in normal])
    measured = _measure(batch, services)
    twins = _find_twins(batch, measured, limits, image_rows.earlier_images(services.engine, batch))
    validated_at = services.clock()
    validation = expectations.validate_facts(
        _facts_rows(batch, measured, twins),
        suite_name=f"{line.name}: {batch.batch_id}",
        limits=limits,
        settings=line.validation,
    )
    docs = f"reports/{line.name}/{batch.batch_id}-{batch.batch_key[:8]}.data-docs.html"
    storage.write_atomically(services.workspace / docs, render_data_docs(validation, made_at=validated_at).encode())
    rejected = bool(validation.rejected_for)
    batches.record_batch(
        services.engine,
        batch,
        _records(batch, measured, twins, validation.failures, rejected=rejected),
        outcome={
            "status": BatchStatus.REJECTED if rejected else BatchStatus.VALIDATED,
            "rejected_for": "; ".join(validation.rejected_for),
            "data_docs_uri": docs,
            "dag_run_id": services.dag_run_id,
        },
        validated_at=validated_at,
    )


def _measure(batch: Batch, services: Services) -> list[Measured]:
    """Measure the members that are there with the bytes that were announced."""
    paths = [services.landing.path(batch.line, batch.batch_id, member.name) for member in batch.members]
    found: list[Measured | None] = [None] * len(paths)
    for row, (path, member) in enumerate(zip(paths, batch.members, strict=True)):
        if not path.is_file():
            found[row] = Measured(None, Reason.MISSING, "named in the manifest, not there")
        elif storage.digest_file(path) != member.sha256:
            found[row] = Measured(None, Reason.CHANGED, f"not the bytes of sha256 {member.sha256[:12]}… as announced")
    to_decode = [row for row, known in enumerate(found) if known is None]
    decoded = measure_files([paths[row] for row in to_decode], services.limits)
    doing = f"validate {batch.line}/{batch.batch_id}"
    for row, result in zip(to_decode, services.progress(decoded, total=len(to_decode), doing=doing), strict=True):
        found[row] = result
    return [result for result in found if result is not None]


def _find_twins(
    batch: Batch, measured: Sequence[Measured], limits: FactLimits, earlier: Sequence[tuple[str, str]]
) -> _Twins:
    twins = _Twins({}, {})
    seen = {image_id: image_id for image_id, _ in earlier}
    ids = [image_id for image_id, _ in earlier]
    rows = hash_bytes([digest for _, digest in earlier]) if earlier else np.zeros((0, 32), np.uint8)
    own = np.zeros((len(measured), 32), np.uint8)
    hashes = np.concatenate([rows, own])
    count = len(ids)
    for row, (member, result) in enumerate(zip(batch.members, measured, strict=True)):
        if result.facts is None:
            continue
        if member.sha256 in seen:
            twins.duplicate_of[row] = seen[member.sha256]
            continue
        digest = hash_bytes([result.facts.difference_hash])[0]
        # a picture without any edge has an empty hash, and is no more like another than like itself
        if limits.max_near_duplicate_bits is not None and count and digest.any():
            distances = hash_distances(hashes[:count], digest)
            nearest = int(distances.argmin())
            if distances[nearest] <= limits.max_near_duplicate_bits:
                twins.near_duplicate_of[row] = ids[nearest]
        seen[member.sha256] = member.sha256
        ids.append(member.sha256)
        hashes[count] = digest
        count += 1
    return twins


def _facts_rows(batch: Batch, measured: Sequence[Measured], twins: _Twins) -> list[FactsRow]:
    return [
        FactsRow(
            member.name,
            result.facts,
            reason=result.reason,
            detail=result.detail,
            duplicate_of=twins.duplicate_of.get(row),
            near_duplicate_of=twins.near_duplicate_of.get(row),
        )
        for row, (member, result) in enumerate(zip(batch.members, measured, strict=True))
    ]


def _records(
    batch: Batch,
    measured: Sequence[Measured],
    twins: _Twins,
    failures: Sequence[ImageFailure],
    *,
    rejected: bool,
) -> list[ImageRecord]:
    failed: dict[int, list[ImageFailure]] = {}
    for failure in failures:
        failed.setdefault(failure.row_id, []).append(failure)
    records = []
    for row, (member, result) in enumerate(zip(batch.members, measured, strict=True)):
        record = ImageRecord(
            name=member.name,
            image_id="" if result.reason is Reason.MISSING else member.sha256,
            num_bytes=member.num_bytes,
            status=ImageStatus.ACCEPTED,
            facts=result.facts,
            duplicate_of=twins.duplicate_of.get(row) or twins.near_duplicate_of.get(row),
        )
        if row in failed:
            detail = "; ".join(f"{failure.reason}: {failure.detail}" for failure in failed[row])
            record = replace(record, status=ImageStatus.QUARANTINED, reason=failed[row][0].reason, detail=detail)
        elif rejected:
            record = replace(
                record, status=ImageStatus.QUARANTINED, reason=Reason.BATCH_REJECTED, detail="its batch is rejected"
            )
        records.append(record)
    return records
