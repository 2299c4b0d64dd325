"""Share images that wait out over scoring tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cae_pipeline.adapters.results import batches, images, ledger
from cae_pipeline.adapters.results.model_versions import ModelVersion
from cae_pipeline.domain.line import Line
from cae_pipeline.steps.night.each_line import LinesDone, for_each_line
from cae_pipeline.steps.night.find import is_normal_batch
from cae_pipeline.steps.night.portions import MAX_MAPPED_TASKS, share_out
from cae_pipeline.steps.night.score import Slice, finish_deliveries
from cae_pipeline.steps.services import Services


@dataclass(frozen=True)
class LinePlan:
    """Which model version judges which parts of deliveries; each chunk is one scoring task.

    Attributes:
        num_waiting: Further chunks, which are left for the next run.
    """

    model_version: str
    chunks: tuple[tuple[Slice, ...], ...]
    num_waiting: int = 0


def plan_lines(
    lines: Sequence[Line], *, chunk_size: int, services: Services, max_chunks: int = MAX_MAPPED_TASKS
) -> LinesDone[LinePlan]:
    """Plan what the champion of every line has to judge; a line without one waits.

    Args:
        lines: All lines.
        chunk_size: Images that one scoring task takes at most.
        services: The outside world.
        max_chunks: Of all lines together. The others wait for the next run.
    """

    def plan(line: Line) -> LinePlan:
        version, chunks = plan_line(line, chunk_size=chunk_size, services=services)
        return LinePlan(version.model_version, tuple(map(tuple, chunks)))

    done = for_each_line(lines, plan)
    shares = share_out({name: len(planned.chunks) for name, planned in done.results.items()}, max_chunks)
    return replace(done, results={name: _portion(planned, shares[name]) for name, planned in done.results.items()})


def plan_line(line: Line, *, chunk_size: int, services: Services) -> tuple[ModelVersion, list[list[Slice]]]:
    """Plan what the champion has to judge: every validated batch of the line but those that train.

    Raises:
        NoChampionError: If nobody may judge; the images wait.
    """
    with services.read() as connection:
        champion = ledger.champion_of(connection, line.name)
        unfinished = batches.unfinished_deliveries(connection, line.name)
    waiting = [row.delivery_key for row in unfinished if not is_normal_batch(line, row.batch_id)]
    return champion, plan_chunks(waiting, champion, chunk_size=chunk_size, services=services)


def plan_chunks(
    delivery_keys: Iterable[str], version: ModelVersion, *, chunk_size: int, services: Services
) -> list[list[Slice]]:
    """Share the members of some deliveries out over scoring tasks.

    A delivery without an image that waits is finished here. There are never more chunks than Airflow maps.

    Args:
        delivery_keys: The deliveries.
        version: The model version that will judge.
        chunk_size: Members that one task takes, more only where there would be too many tasks.
        services: The outside world.
    """
    keys = list(delivery_keys)
    finished = set(finish_deliveries(keys, version, services))
    with services.read() as connection:
        counts = {key: images.count_members(connection, key) for key in keys if key not in finished}
    chunk_size = max(chunk_size, -(-sum(counts.values()) // MAX_MAPPED_TASKS))
    chunks: list[list[Slice]] = []
    room = 0
    for delivery_key, count in counts.items():
        start = 0
        while start < count:
            if room == 0:
                chunks.append([])
                room = chunk_size
            stop = min(count, start + room)
            chunks[-1].append(Slice(delivery_key, start, stop))
            room -= stop - start
            start = stop
    return chunks


def _portion(planned: LinePlan, share: int) -> LinePlan:
    return replace(planned, chunks=planned.chunks[:share], num_waiting=len(planned.chunks) - share)
