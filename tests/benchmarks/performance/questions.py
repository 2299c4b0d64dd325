"""What the command line, the API and a night ask of the results database, each asked and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa

from cae_pipeline.adapters.results import (
    alerts,
    batches,
    drift_reports,
    images,
    judgements,
    ledger,
    model_versions,
    reports,
    verdicts,
)
from cae_pipeline.adapters.results.queries import flagged, models, nights
from cae_pipeline.adapters.results.queries.anomalies import AnomalyFilter, list_anomalies
from cae_pipeline.adapters.results.queries.images import show_image
from cae_pipeline.adapters.results.queries.paging import Page
from cae_pipeline.adapters.results.thresholds import change_threshold
from cae_pipeline.adapters.results.unit_of_work import reading, unit_of_work
from cae_pipeline.domain.stamp import Stamp
from cae_pipeline.statistics.conformal import Threshold
from tests.benchmarks.performance.million import LINE, NOW, THRESHOLD

Question = Callable[[sa.Connection], Any]
SAMPLES = 5
NIGHT_OWN = "night: "
"""What begins so is bounded by the images of the night, which there are 10,000 of."""


def questions(engine: sa.Engine, night: date) -> dict[str, Question]:
    """Every question, by what it is for."""
    with reading(engine) as connection:
        champion = ledger.champion_of(connection, LINE)
        delivery = batches.deliveries_of_nights(connection, LINE, (night, night))[0]
        image_id = list_anomalies(connection, AnomalyFilter(line=LINE), Page("-score"))[0].image_id
    key, by_score = delivery.delivery_key, Page("-score")

    def anomalies(page: Page = by_score, **wanted: Any) -> Question:
        return lambda connection: list_anomalies(connection, AnomalyFilter(**wanted), page)

    return {
        "worst anomalies of all lines": anomalies(),
        "worst anomalies of a line": anomalies(line=LINE),
        "newest anomalies of a line": anomalies(Page("-night"), line=LINE),
        "anomalies of a night": anomalies(line=LINE, since=night, until=night),
        "anomalies of a batch": anomalies(line=LINE, batch_id=str(night)),
        "anomalies nobody has judged yet": anomalies(line=LINE, verdict="none"),
        "anomalies of a model version": anomalies(model_version=champion.model_version),
        "page 20 of the anomalies": anomalies(Page("-score", page=20), line=LINE),
        "batches": lambda c: nights.list_batches(c, LINE, Page("-night")),
        "quarantined images": lambda c: nights.list_odd_images(c, LINE, Page("-night")),
        "model versions": lambda c: models.list_model_versions(c, LINE, Page("-registered_at")),
        "ledger": lambda c: models.list_ledger(c, LINE, Page("-entry_id")),
        "one image": lambda c: show_image(c, image_id[:12]),
        "queue: nearest to the threshold": lambda c: flagged.nearest_to_threshold(c, champion, limit=40),
        "queue: flagged latents": lambda c: flagged.flagged_latents(c, champion, limit=2000),
        "queue: judged latents": lambda c: flagged.reviewed_latents(c, champion, limit=2000),
        "rates of one night": lambda c: nights.rates_of_night(c, LINE, night),
        "who serves a line": lambda c: ledger.champion_of(c, LINE),
        "finished batches of a line": lambda c: batches.settled_batches(c, LINE),
        "unfinished batches of a line": lambda c: batches.unfinished_deliveries(c, LINE),
        "images of a chunk": lambda c: images.accepted_part(
            c, key, start=5000, stop=6024, judged_by=champion.model_version
        ),
        "flagged images of a night": lambda c: flagged.flagged_of(c, [key], limit=60),
        "quarantined images of a night": lambda c: nights.odd_images_of(c, [key], limit=500),
        "nights with scores": lambda c: judgements.scored_nights(c, LINE, newest=60),
        "verdicts since a training": lambda c: verdicts.count_reviewed_since(c, LINE, NOW - timedelta(days=1)),
        "last training": lambda c: drift_reports.last_training(c, LINE),
        "last drift report": lambda c: drift_reports.last_drift_report(c, LINE, until=night),
        "undelivered alerts": alerts.undelivered,
        "refusals": lambda c: ledger.refusals_since(c, LINE, NOW),
        "all champions": model_versions.all_champions,
        "what a report tells of": lambda c: reports.deliveries_told_by(c, LINE, night),
        "reports to be made again": reports.stale_nights,
        "batches that came late": lambda c: batches.validated_since(c, LINE, NOW - timedelta(days=7), up_to=night),
        "counts of a report": lambda c: nights.rates_of(c, LINE, night, [key]),
        "flagged images of a report, counted": lambda c: flagged.count_flagged(c, [key]),
        f"{NIGHT_OWN}members, to compare": lambda c: images.members_of(c, key),
        f"{NIGHT_OWN}reasons, for the report": lambda c: nights.reasons_of(c, [key]),
        f"{NIGHT_OWN}scores with latents, for drift": lambda c: judgements.scores_of(c, [key], champion.model_version),
        f"{NIGHT_OWN}facts, for drift": lambda c: images.usual_images(c, [key]),
        f"{NIGHT_OWN}scores, for the report": lambda c: flagged.scores_of(c, [key]),
        f"{NIGHT_OWN}unflagged images of a batch": lambda c: judgements.unflagged_images(c, key),
    }


def ask(engine: sa.Engine, question: Question) -> list[float]:
    """Milliseconds of each of some answers, after one that warms up."""
    taken = []
    for _ in range(SAMPLES + 1):
        with reading(engine) as connection:
            started = time.perf_counter()
            question(connection)
            taken.append((time.perf_counter() - started) * 1000)
    return taken[1:]


def ask_all(engine: sa.Engine, night: date) -> dict[str, list[float]]:
    """Ask everything; milliseconds by question."""
    return {name: ask(engine, question) for name, question in questions(engine, night).items()}


def rates_of_61_nights(engine: sa.Engine, night: date) -> list[float]:
    """Seconds for what the alerts of a line look at every half hour."""
    page, since = Page("-night", page_size=61), night - timedelta(days=60)
    taken = ask(engine, lambda c: nights.list_daily_rates(c, LINE, page, since=since))
    return [milliseconds / 1000 for milliseconds in taken]


def judge_all_again(engine: sa.Engine) -> list[float]:
    """Seconds of a change of the threshold that flags every image, and back."""
    taken = []
    for value in (THRESHOLD / 100, THRESHOLD) * 2:
        with unit_of_work(engine) as work:
            version = ledger.champion_of(work.connection, LINE)
            started = time.perf_counter()
            change_threshold(work.connection, version, Threshold(value, 0.05, 1, 19), Stamp("bench", NOW), figures={})
            work.commit()
            taken.append(time.perf_counter() - started)
    return taken


def slowest(answers: dict[str, list[float]]) -> tuple[str, float]:
    """The question whose median is highest, of those that nothing of the night's own bounds."""
    medians = {name: statistics.median(taken) for name, taken in answers.items() if not name.startswith(NIGHT_OWN)}
    name = max(medians, key=lambda one: medians[one])
    return name, medians[name]
