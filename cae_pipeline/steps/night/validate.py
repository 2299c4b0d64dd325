"""Measure a batch's images, hold them against the expectations, and write down what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import structlog

from cae_pipeline.adapters import expectations, storage
from cae_pipeline.adapters.decoding import Measured
from cae_pipeline.adapters.results import batches, deliveries, images
from cae_pipeline.adapters.results.batches import DeliveryRow
from cae_pipeline.adapters.results.deliveries import Validation
from cae_pipeline.domain.batch import Delivery, DeliveryStatus, Member, explain_emptiness
from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.image_settings import settled
from cae_pipeline.domain.likeness import Comparison, compare
from cae_pipeline.domain.limits import FactLimits, limits_for
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import ImageStatus, Reason, ValidatedImage
from cae_pipeline.domain.validation import BatchValidation, FactsRow, ImageFailure
from cae_pipeline.errors import BatchRejectedError
from cae_pipeline.reporting.data_docs import render_data_docs
from cae_pipeline.steps.night.depth import measure_at_depth
from cae_pipeline.steps.night.duplicates import Duplicates, find_duplicates
from cae_pipeline.steps.night.measure import measure_members
from cae_pipeline.steps.services import Services

log = structlog.get_logger()

MAX_TITLE_BYTES = 200
"""Of a batch_id in the name of its page."""


@dataclass(frozen=True)
class ValidatedBatch:
    """What became of a batch; `already_there` if an earlier run had done it."""

    line: str
    batch_id: str
    delivery_key: str
    num_images: int
    num_quarantined: int
    already_there: bool


def validate_batch(line: Line, batch_id: str, services: Services, *, again: bool = False) -> ValidatedBatch:
    """Validate one batch as it lies there now; doing it again changes nothing.

    Args:
        line: The product line.
        batch_id: The batch.
        services: The outside world.
        again: Judge by today's limits what was validated before. The earlier outcome becomes history.

    Raises:
        BatchNotReadyError: If files are still arriving.
        BatchRejectedError: If it fails as a whole, now or when it was validated.
        StorageError: If the landing zone cannot be read just now; nothing is decided then.
    """
    listing = services.landing.list_delivery(
        line.name,
        batch_id,
        now=services.clock(),
        ignored=line.validation.ignored_files,
        calendar=services.calendar_of(line),
    )
    with services.read() as connection:
        in_force = batches.find_in_force(connection, line.name, batch_id)
        earlier = images.members_of(connection, in_force.delivery_key) if in_force else []
        delivery = listing.completed_by([Member(one.name, one.num_bytes, one.image_id) for one in earlier])
        known = batches.latest_of_content(connection, delivery)
    if known and (_is_to_repeat(known, services) if again else _has_arrived(delivery, earlier, services)):
        delivery, known = replace(delivery, number=known.number + 1), None
    elif known:
        delivery = replace(delivery, number=known.number)
    validation = None if known else _validate(line, delivery, earlier, services)
    with services.write() as work:
        if validation is None:
            deliveries.put_in_force(work.connection, delivery)
        else:
            deliveries.record_delivery(work.connection, delivery, validation)
        row = batches.delivery_in_force(work.connection, line.name, batch_id)
        work.commit()
    return _told(row, already_there=known is not None)


def has_other_limits(line: Line, batch_id: str, services: Services) -> bool:
    """Whether a batch would be held against other limits today than it was."""
    with services.read() as connection:
        in_force = batches.find_in_force(connection, line.name, batch_id)
    normal = _normal_facts(line, services)
    limits = limits_for(line.validation, normal, bit_depth=settled(line.images, normal).bit_depth)
    # as the results database gives it back
    today = json.loads(json.dumps(asdict(limits)))
    return in_force is not None and dict(in_force.limits) != today


def _normal_facts(line: Line, services: Services) -> list[ImageFacts]:
    with services.read() as connection:
        normal = images.normal_images(connection, line.name, line.training.normal_batches)
    return [image.facts for image in normal]


def _is_to_repeat(known: DeliveryRow, services: Services) -> bool:
    """Whoever asks by hand gets it; a task of Airflow that is tried again has done it already."""
    return not (known.number and services.dag_run_id and known.dag_run_id == services.dag_run_id)


def _has_arrived(delivery: Delivery, earlier: Sequence[ValidatedImage], services: Services) -> bool:
    """Whether a file that was missing, or had other bytes than its manifest says, has come since."""
    wanted = {member.name: member for member in delivery.members}
    for image in earlier:
        if image.reason not in (Reason.MISSING, Reason.CHANGED) or image.name not in wanted:
            continue
        path = services.landing.path(delivery.line, delivery.batch_id, image.name)
        try:
            if not storage.is_readable(path):
                continue
            if image.reason is Reason.MISSING or storage.digest_file(path) == wanted[image.name].sha256:
                return True
        except OSError:
            continue
    return False


def _told(row: DeliveryRow, *, already_there: bool) -> ValidatedBatch:
    result = ValidatedBatch(
        row.line, row.batch_id, row.delivery_key, row.num_images, row.num_quarantined, already_there
    )
    log.info("batch_validated", status=row.status.value, data_docs=row.data_docs_uri, **asdict(result))
    if row.status is DeliveryStatus.REJECTED:
        raise BatchRejectedError(row.batch_id, failed=row.rejected_for.split("; "))
    return result


def _validate(line: Line, delivery: Delivery, earlier: Sequence[ValidatedImage], services: Services) -> Validation:
    """Read, measure and judge; everything but the rows of the results table."""
    normal = _normal_facts(line, services)
    measured, bit_depth = measure_at_depth(
        line, delivery, normal, measure=lambda how: measure_members(delivery, earlier, how, services)
    )
    limits = limits_for(line.validation, normal, bit_depth=bit_depth)
    duplicates = find_duplicates(line, delivery, measured, limits, services)
    validation = expectations.validate_facts(
        _facts_rows(delivery, measured, duplicates, _compared(measured, normal, limits)),
        suite_name=f"{line.name}: {delivery.batch_id}",
        limits=limits,
        settings=line.validation,
    )
    moment = services.clock()
    # a file's name is at most 255 bytes long
    title = delivery.batch_id.encode()[:MAX_TITLE_BYTES].decode(errors="ignore")
    docs = f"reports/{line.name}/{title}-{delivery.delivery_key[:8]}.data-docs.html"
    storage.write_atomically(
        services.workspace / docs, render_data_docs(validation, made_at=services.local_time()).encode()
    )
    return Validation(
        images=_validated_images(delivery, measured, duplicates, validation),
        limits=asdict(limits),
        rejected_for=[*validation.rejected_for, *explain_emptiness(delivery)],
        data_docs_uri=docs,
        dag_run_id=services.dag_run_id,
        validated_at=moment,
    )


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
    failures: dict[int, list[ImageFailure]] = {}
    for failure in validation.failures:
        failures.setdefault(failure.row_id, []).append(failure)
    images_found = []
    for row, (member, result) in enumerate(zip(delivery.members, measured, strict=True)):
        image = ValidatedImage(
            name=member.name,
            image_id="" if result.reason is Reason.MISSING else member.sha256,
            num_bytes=member.num_bytes,
            status=ImageStatus.ACCEPTED,
            facts=result.facts,
            duplicate_of=duplicates.exact.get(row) or duplicates.near.get(row),
        )
        images_found.append(_judged(image, failures.get(row, []), is_rejected=bool(validation.rejected_for)))
    return images_found


def _judged(image: ValidatedImage, failures: Sequence[ImageFailure], *, is_rejected: bool) -> ValidatedImage:
    """Say what became of one image: a reason that hides it comes before one that is only odd."""
    detail = "; ".join(f"{failure.reason}: {failure.detail}" for failure in failures)
    # whatever the reason, what has no facts could not be decoded
    hiding = [failure.reason for failure in failures if failure.reason.hides or image.facts is None]
    if hiding:
        return replace(image, status=ImageStatus.QUARANTINED, reason=hiding[0], detail=detail)
    if is_rejected:
        against = [failure.reason for failure in failures if failure.reason.speaks_against_batch]
        told, *_ = (*against, Reason.BATCH_REJECTED)
        return replace(image, status=ImageStatus.QUARANTINED, reason=told, detail=detail or "its batch is rejected")
    return replace(image, reason=failures[0].reason if failures else None, detail=detail)
