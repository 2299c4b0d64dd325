"""Exchange verdicts with Label Studio, through files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cae_pipeline.adapters import label_studio
from cae_pipeline.adapters.results import verdicts
from cae_pipeline.adapters.results.queries import flagged
from cae_pipeline.domain.line import Line
from cae_pipeline.domain.outcome import ScoredImage
from cae_pipeline.steps.outputs import write_output
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class ExportedVerdicts:
    """How many tasks stand in which file, and the set-up of a project that shows them."""

    tasks: int
    file: str
    labelling_config: str


@dataclass(frozen=True)
class ImportedVerdicts:
    """How many verdicts the file holds, and how many of them were not there yet."""

    verdicts: int
    new: int


def export_verdicts(line: Line, path: Path, services: Services, *, prefix: str) -> ExportedVerdicts:
    """Write every scored image of a line as Label Studio's tasks, and beside them the set-up of a project.

    Args:
        line: The line.
        path: JSON file that is written; the set-up gets the same name with `.xml`.
        services: The outside world.
        prefix: What Label Studio finds the landing zone under, such as `/data/local-files/?d=`.

    Raises:
        ConfigurationError: If the files cannot be written.
    """

    def address(image: ScoredImage) -> str:
        place = services.landing.path(image.line, image.batch_id, image.name).relative_to(services.landing.folder)
        return label_studio.address_of(place, prefix=prefix)

    with services.read() as connection:
        said = flagged.verdicts_of_line(connection, line.name)
        tasks = [
            label_studio.as_task(image, said.get(image.image_id, []), address=address(image))
            for image in flagged.all_of_line(connection, line.name)
        ]
    config = path.with_suffix(".xml")
    write_output(path, json.dumps(tasks, indent=1))
    write_output(config, label_studio.LABELLING_CONFIG)
    return ExportedVerdicts(len(tasks), str(path), str(config))


def import_verdicts(path: Path, services: Services) -> ImportedVerdicts:
    """Append the verdicts of an export of Label Studio; importing it twice adds nothing.

    Raises:
        ConfigurationError: If it is no such export; says where.
    """
    given = label_studio.read_verdicts(path)
    with services.write() as work:
        num_new = verdicts.append(work.connection, given)
        work.commit()
    return ImportedVerdicts(len(given), num_new)
