"""Measure a batch's images, hold them against the expectations, and write down what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import structlog

from cae_pipeline.adapters import expectations, storage
from cae_pipeline.adapters.decoding import Measured, measure_files
from cae_pipeline.adapters.results import batches, images
from cae_pipeline.adapters.results.batches import DeliveryRow, Validation
from cae_pipeline.domain.batch import Delivery, DeliveryStatus
from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.likeness import Comparison, compare
from cae_pipeline.domain.limits import FactLimits, limits_for
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import ImageStatus, Reason, ValidatedImage
from cae_pipeline.domain.validation import BatchValidation, FactsRow, ImageFailure
from cae_pipeline.errors import BatchRejectedError, StorageError
from cae_pipeline.reporting.data_docs import render_data_docs
from cae_pipeline.steps.night.duplicates import Duplicates, find_duplicates
from cae_pipeline.steps.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class ValidatedBatch:
    """What became of a batch; `already_there` if an earlier run had done it."""

    line: str
    batch_id: str
    delivery_key: str
    num_images: int
    num_quarantined: int
    already_there: bool


def validate_batch(line: Line, batch_id: str, services: Services) -> ValidatedBatch:
    """Validate one batch as it lies there now; doing it again changes nothing.

    Raises:
        BatchNotReadyError: If files are still arriving.
        BatchRejectedError: If it fails as a whole, now or when it was validated.
        StorageError: If the landing zone cannot be read just now; nothing is decided then.
    """
    delivery = services.landing.list_delivery(line.name, batch_id, now=services.clock())
    with services.read() as connection:
        known = batches.find_delivery(connection, delivery.delivery_key)
    validation = None if known else _validate(line, delivery, services)
    with services.write() as work:
        if validation is None:
            batches.put_in_force(work.connection, delivery)
        else:
            batches.record_delivery(work.connection, delivery, validation)
        row = batches.delivery_in_force(work.connection, line.name, batch_id)
        work.commit()
    return _told(row, already_there=known is not None)


def _told(row: DeliveryRow, *, already_there: bool) -> ValidatedBatch:
    result = ValidatedBatch(
        row.line, row.batch_id, row.delivery_key, row.num_images, row.num_quarantined, already_there
    )
    log.info("batch_validated", status=row.status.value, data_docs=row.data_docs_uri, **asdict(result))
    if row.status is DeliveryStatus.REJECTED:
        raise BatchRejectedError(row.batch_id, failed=row.rejected_for.split("; "))
    return result


def _validate(line: Line, delivery: Delivery, services: Services) -> Validation:
    """Read, measure and judge; everything but the rows of the results table."""
    with services.read() as connection:
        normal_images = images.normal_images(connection, line.name, line.training.normal_batches)
    normal = [image.facts for image in normal_images]
    limits = limits_for(line.validation, normal)
    measured = _measure(delivery, services)
    duplicates = find_duplicates(delivery, measured, limits, services)
    validation = expectations.validate_facts(
        _facts_rows(delivery, measured, duplicates, _compared(measured, normal, limits)),
        suite_name=f"{line.name}: {delivery.batch_id}",
        limits=limits,
        settings=line.validation,
    )
    moment = services.clock()
    docs = f"reports/{line.name}/{delivery.batch_id}-{delivery.delivery_key[:8]}.data-docs.html"
    storage.write_atomically(services.workspace / docs, render_data_docs(validation, made_at=moment).encode())
    return Validation(
        images=_validated_images(delivery, measured, duplicates, validation),
        limits=asdict(limits),
        rejected_for=validation.rejected_for,
        data_docs_uri=docs,
        dag_run_id=services.dag_run_id,
        validated_at=moment,
    )


def _measure(delivery: Delivery, services: Services) -> list[Measured]:
    """Measure the members that are there, and hold each one's bytes against those that were announced.

    Raises:
        StorageError: If a file cannot be read just now.
    """
    folder = services.landing.folder / delivery.line / delivery.batch_id
    paths = [services.landing.path(delivery.line, delivery.batch_id, member.name) for member in delivery.members]
    is_there = [path.is_file() for path in paths]
    present = [path for path, there in zip(paths, is_there, strict=True) if there]
    doing = f"validate {delivery.line}/{delivery.batch_id}"
    try:
        decoded = iter(services.progress(measure_files(present, services.limits), total=len(present), doing=doing))
        found = [next(decoded) if there else _MISSING for there in is_there]
    except OSError as error:
        raise StorageError(folder, error) from error
    return [
        _changed(member.sha256) if result.sha256 and result.sha256 != member.sha256 else result
        for member, result in zip(delivery.members, found, strict=True)
    ]


_MISSING = Measured(None, Reason.MISSING, "named in the manifest, not there")


def _changed(announced: str) -> Measured:
    return Measured(None, Reason.CHANGED, f"not the bytes of sha256 {announced[:12]}… as announced")


def _compared(measured: Sequence[Measured], normal: Sequence[ImageFacts], limits: FactLimits) -> dict[int, Comparison]:
    """Hold the images that could be decoded against the line's normal images; by their position."""
    facts = {row: result.facts for row, result in enumerate(measured) if result.facts is not None}
    compared = compare(list(facts.values()), normal, max_distance=limits.max_line_distance)
    return dict(zip(facts, compared, strict=True))


def _facts_rows(
    delivery: Delivery, measured: Sequence[Measured], duplicates: Duplicates, compared: Mapping[int, Comparison]
) -> list[FactsRow]:
    return [
        FactsRow(
            member.name,
            result.facts,
            reason=result.reason,
            detail=result.detail,
            duplicate_of=duplicates.exact.get(row),
            near_duplicate_of=duplicates.near.get(row),
            frames_in_a_row=duplicates.frames_in_a_row.get(row, 1),
            **asdict(compared.get(row, Comparison())),
        )
        for row, (member, result) in enumerate(zip(delivery.members, measured, strict=True))
    ]


def _validated_images(
    delivery: Delivery, measured: Sequence[Measured], duplicates: Duplicates, validation: BatchValidation
) -> list[ValidatedImage]:
    failed: dict[int, list[ImageFailure]] = {}
    for failure in validation.failures:
        failed.setdefault(failure.row_id, []).append(failure)
    found = []
    for row, (member, result) in enumerate(zip(delivery.members, measured, strict=True)):
        image = ValidatedImage(
            name=member.name,
            image_id="" if result.reason is Reason.MISSING else member.sha256,
            num_bytes=member.num_bytes,
            status=ImageStatus.ACCEPTED,
            facts=result.facts,
            duplicate_of=duplicates.exact.get(row) or duplicates.near.get(row),
        )
        if row in failed:
            detail = "; ".join(f"{failure.reason}: {failure.detail}" for failure in failed[row])
            image = replace(image, status=ImageStatus.QUARANTINED, reason=failed[row][0].reason, detail=detail)
        elif validation.rejected_for:
            rejected, told = Reason.BATCH_REJECTED, "its batch is rejected"
            image = replace(image, status=ImageStatus.QUARANTINED, reason=rejected, detail=told)
        found.append(image)
    return found
