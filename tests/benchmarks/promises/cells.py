"""The demo's lines with a champion each, inspected nights, and verdicts from the dataset's labels."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cae_pipeline.adapters.results import images as image_rows
from cae_pipeline.adapters.results import verdicts
from cae_pipeline.adapters.results.batches import deliveries_of_nights
from cae_pipeline.adapters.results.model_versions import ModelVersion, SnapshotImage
from cae_pipeline.detector.scorer import Scorer
from cae_pipeline.domain.images import Pixels
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import AcceptedImage
from cae_pipeline.domain.verdict import Verdict
from cae_pipeline.lines_file import read_lines
from cae_pipeline.settings import Settings
from cae_pipeline.steps.life.promote import promote_challenger
from cae_pipeline.steps.life.train import train_model
from cae_pipeline.steps.night.load import load_model
from cae_pipeline.steps.night.plan import plan_line
from cae_pipeline.steps.night.read import read_images, stack
from cae_pipeline.steps.night.score import score_slices
from cae_pipeline.steps.night.validate import validate_batch
from cae_pipeline.steps.services import Services
from cae_pipeline.wiring import connect
from infra.demo.deliver import LINES, NIGHTS, deliver
from tests import asking

LINES_FILE = Path(__file__).resolve().parents[3] / "infra/demo/lines.toml"


@dataclass(frozen=True)
class Cells:
    """One installation.

    Attributes:
        labels: Probability of a defect by the digest of an image.
    """

    services: Services
    lines: dict[str, Line]
    labels: dict[str, float]

    def champion(self, line: str) -> ModelVersion:
        """Who serves."""
        return asking.champion(self.services, line)

    def scorer(self, line: str) -> Scorer:
        """The champion, ready to score."""
        return load_model(self.champion(line), self.services)

    def images(self, line: str, *, label: float) -> list[AcceptedImage]:
        """Accepted images of the nights with one label, none of which was trained on."""
        nights = [date.fromisoformat(night) for night in NIGHTS]
        with self.services.read() as connection:
            delivered = deliveries_of_nights(connection, line, (min(nights), max(nights)))
            keys = [row.delivery_key for row in delivered if row.night in nights]
            accepted = {image.image_id: image for image in image_rows.usual_images(connection, keys)}
        return [image for image_id, image in sorted(accepted.items()) if self.labels.get(image_id) == label]

    def trained_on(self, line: str) -> list[SnapshotImage]:
        """The images that the champion was trained on, each with its part."""
        return asking.snapshot(self.services, self.champion(line).model_version)

    def pixels(self, line: str, images: Sequence[AcceptedImage]) -> Pixels:
        """Read images as the line's network wants them."""
        model = self.scorer(line).settings
        return stack(list(read_images(images, model, self.services, doing="read")), model)

    def content(self, image: AcceptedImage) -> bytes:
        """The bytes of an image."""
        return self.services.landing.path(image.line, image.batch_id, image.name).read_bytes()


def build(workspace: Path) -> Cells:
    """Deliver, train, let the gate decide, inspect four nights, and judge half of what is labelled."""
    workspace.mkdir(parents=True)
    shutil.copy(LINES_FILE, workspace / "lines.toml")
    services = connect(Settings(workspace=workspace))
    lines = read_lines(workspace / "lines.toml")
    _, _, labels = deliver(workspace / "landing")
    for name in LINES:
        version = train_model(lines[name], services)
        decision = promote_challenger(lines[name], version.model_version, services)
        assert decision.promote, decision.reasons
        for night in NIGHTS:
            validate_batch(lines[name], night, services)
        champion, chunks = plan_line(lines[name], chunk_size=4096, services=services)
        for chunk in chunks:
            score_slices(chunk, champion, services)
    cells = Cells(services, lines, labels)
    _judge(cells)
    return cells


def _judge(cells: Cells) -> None:
    """Say of every second image what its label says; the others stay what nobody has looked at."""
    given = [
        Verdict(image.image_id, word, "label", cells.services.clock())
        for line in cells.lines
        for label, word in ((0.0, "normal"), (1.0, "defect"))
        for image in cells.images(line, label=label)[::2]
    ]
    with cells.services.write() as work:
        verdicts.append(work.connection, given)
        work.commit()
