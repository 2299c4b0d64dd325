"""A results database of one line as it is after a hundred nights, filled the way the steps fill it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from cae_pipeline.adapters.results import batches, deliveries, judgements, ledger, model_versions, verdicts
from cae_pipeline.adapters.results.deliveries import Validation
from cae_pipeline.adapters.results.ledger import Change
from cae_pipeline.adapters.results.model_versions import ModelVersion, Registration
from cae_pipeline.adapters.results.unit_of_work import unit_of_work
from cae_pipeline.domain.batch import Delivery, Member, digest_members
from cae_pipeline.domain.facts import ImageFacts
from cae_pipeline.domain.outcome import ImageStatus, Judgement, Reason, Region, Scored, ValidatedImage
from cae_pipeline.domain.promotion import Decision
from cae_pipeline.domain.stamp import Stamp
from cae_pipeline.domain.verdict import Verdict
from cae_pipeline.statistics.conformal import Threshold

LINE = "mono"
FIRST_NIGHT = date(2026, 1, 1)
PER_TRANSACTION = 128
FLAGGED_EVERY, QUARANTINED_EVERY, REVIEWED_EVERY = 50, 100, 500
"""One image in so many is flagged, quarantined, or has a verdict."""
THRESHOLD = 1.0
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FACTS = ImageFacts(512, 512, "RGB", 0.5, 0.1, 1.0, 5.0, "0" * 64, 0.33, 0.33)


@dataclass(frozen=True)
class Filled:
    """How fast rows were written, and what the last night is."""

    rows_per_second: float
    rows_per_second_first_tenth: float
    rows_per_second_last_tenth: float
    last_night: date


def fill(engine: sa.Engine, count: int, *, num_batches: int) -> Filled:
    """Write validated deliveries and scores, 128 per unit of work as scoring does, verdicts and a champion.

    Args:
        engine: Of an empty, migrated database.
        count: Images in all.
        num_batches: One a night, of the same size.
    """
    version = _champion(engine)
    per_batch = count // num_batches
    seconds = []
    for number in range(num_batches):
        delivery = _delivery(number, per_batch)
        with unit_of_work(engine) as work:
            deliveries.record_delivery(work.connection, delivery, _validation(delivery))
            work.commit()
        # what is timed is writing alone
        parts = list(_judgements(delivery, number, version))
        began = time.perf_counter()
        for made in parts:
            with unit_of_work(engine) as work:
                judgements.record_judgements(work.connection, made)
                work.commit()
        seconds.append(time.perf_counter() - began)
        with unit_of_work(engine) as work:
            key, name = delivery.delivery_key, version.model_version
            batches.finish_if_complete(work.connection, key, judged_by=name, finished_at=NOW)
            verdicts.append(work.connection, list(_verdicts(delivery)))
            work.commit()
    _tidy(engine)
    tenth = max(num_batches // 10, 1)
    return Filled(
        rows_per_second=count / sum(seconds),
        rows_per_second_first_tenth=tenth * per_batch / sum(seconds[:tenth]),
        rows_per_second_last_tenth=tenth * per_batch / sum(seconds[-tenth:]),
        last_night=FIRST_NIGHT + timedelta(days=num_batches - 1),
    )


def _tidy(engine: sa.Engine) -> None:
    """What a database server does by itself within minutes: count rows, and mark pages that everybody sees.

    SQLite is left as the steps leave it: nothing in the product counts its rows.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _champion(engine: sa.Engine) -> ModelVersion:
    made = Registration(
        model_version="cae-mono/1",
        line=LINE,
        version=1,
        run_id="r",
        artefact_uri="u",
        artefact_sha256="0" * 64,
        snapshot_sha256="0" * 64,
        figures={"synthetic_auroc": 0.9, "threshold": THRESHOLD},
        registered_at=NOW,
    )
    with unit_of_work(engine) as work:
        version = model_versions.register(work.connection, made, Threshold(THRESHOLD, 0.05, 19, 19), members=[])
        ledger.record_decision(work.connection, Change(None, version), Decision(True, ("ok",)), Stamp("bench", NOW))
        champion = ledger.champion_of(work.connection, LINE)
        work.commit()
    return champion


def _delivery(number: int, per_batch: int) -> Delivery:
    night = FIRST_NIGHT + timedelta(days=number)
    members = tuple(
        Member(f"{position:06}.png", 1, f"{_scattered(number * per_batch + position):064x}")
        for position in range(per_batch)
    )
    return Delivery(LINE, str(night), night, members, digest_members(members), NOW)


def _scattered(number: int) -> int:
    """Digests lie anywhere in an index, neighbours far apart."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95) % 2**256


def _validation(delivery: Delivery) -> Validation:
    images = [_image(position, member) for position, member in enumerate(delivery.members)]
    return Validation(images, {}, (), "reports/x.html", "", NOW)


def _image(position: int, member: Member) -> ValidatedImage:
    if position % QUARANTINED_EVERY == QUARANTINED_EVERY - 1:
        told = "half of it"
        return ValidatedImage(member.name, member.sha256, 1, ImageStatus.QUARANTINED, Reason.TRUNCATED, told)
    facts = ImageFacts(**{**vars(FACTS), "difference_hash": member.sha256})
    return ValidatedImage(member.name, member.sha256, 1, ImageStatus.ACCEPTED, facts=facts)


def _judgements(delivery: Delivery, number: int, version: ModelVersion) -> Iterator[list[Judgement]]:
    # worked out from the whole listing at each call
    delivery_key = delivery.delivery_key
    accepted = [
        (position, member)
        for position, member in enumerate(delivery.members)
        if position % QUARANTINED_EVERY != QUARANTINED_EVERY - 1
    ]
    for start in range(0, len(accepted), PER_TRANSACTION):
        yield [
            Judgement(
                delivery_key=delivery_key,
                name=member.name,
                image_id=member.sha256,
                model_version=version.model_version,
                outcome=_outcome(position + number, member),
                judged_at=NOW,
                dag_run_id="d",
            )
            for position, member in accepted[start : start + PER_TRANSACTION]
        ]


def _outcome(position: int, member: Member) -> Scored:
    is_flagged = position % FLAGGED_EVERY == 0
    jitter = int(member.sha256[:6], 16) / 2**24
    score = THRESHOLD * (1.0001 + 3 * jitter if is_flagged else 0.1 + 0.89 * jitter)
    regions = (Region(10, 20, 30, 40, 900, score),) if is_flagged else ()
    return Scored(score, 0.05 if is_flagged else 0.5, regions, f"maps/{member.sha256[:32]}.png", THRESHOLD, bytes(128))


def _verdicts(delivery: Delivery) -> Iterator[Verdict]:
    for member in delivery.members[::REVIEWED_EVERY]:
        yield Verdict(member.sha256, "defect", "bench", NOW)
