"""How well defects are found, on anyone's folders of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cae_pipeline.cli.printing import Format, print_rows
from cae_pipeline.cli.shared import EffortOption, OutOption, PresetOption, SeedOption, preset_of, with_training

if TYPE_CHECKING:
    from cae_pipeline.domain.line import Line


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (evaluate, benchmark):
        app.command(rich_help_panel="Models")(command)


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Images in the layout of MVTec AD.")],
    seed: SeedOption = None,
    preset: PresetOption = None,
    effort: EffortOption = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="Judge with each head alone and without each.")] = False,
    contamination: Annotated[
        float, typer.Option(min=0, max=0.3, help="Share of defective images hidden among the normal ones.")
    ] = 0,
    config: Annotated[Path | None, typer.Option(help="TOML with the knobs of one line: [model], [training], …")] = None,
    out: OutOption = None,
    how: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
) -> None:
    """Train on a folder's normal images and work out how well its defects are found."""
    from cae_pipeline.training.quiet import import_tensorflow_quietly

    import_tensorflow_quietly()
    from cae_pipeline.adapters.decoding import DecodeLimits
    from cae_pipeline.settings import read_settings
    from cae_pipeline.steps.offline.evaluate import evaluate_set
    from cae_pipeline.steps.offline.image_set import channels_of, contaminated, find_image_set
    from cae_pipeline.wiring import show_progress

    images = find_image_set(folder)
    hidden: tuple[Path, ...] = ()
    if contamination:
        images, hidden = contaminated(images, contamination, seed=seed or 0)
    settings = read_settings()
    limits = DecodeLimits(max_bytes=settings.max_bytes, max_pixels=settings.max_pixels)
    line = with_training(
        _line_of(config, channels=channels_of(images.train, limits)), seed=seed, preset=preset_of(preset, effort)
    )
    epochs = show_progress(range(line.training.plan.epochs), total=line.training.plan.epochs, doing="train")
    next(epochs, None)

    def on_epoch(_epoch: int, _metrics: object) -> None:
        next(epochs, None)

    result = evaluate_set(images, line, limits, progress=show_progress, on_epoch=on_epoch, ablation=ablation)
    result["hidden"] = [str(path) for path in hidden]
    target = out or settings.path("evaluations", f"{images.name}-seed{line.training.seed}.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if how is Format.JSON:
        print(json.dumps(result, indent=2))
        return
    _print_evaluation(result)
    print(f"\nwritten to {target}")


def benchmark(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Sets in the layout of MVTec AD.")],
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = "0,1,2",
    preset: PresetOption = None,
    effort: EffortOption = None,
    config: Annotated[Path | None, typer.Option(help="TOML with the knobs of one line.")] = None,
    ablation: Annotated[bool, typer.Option("--ablation", help="Judge with each head alone and without each.")] = False,
    contamination: Annotated[float, typer.Option(min=0, max=0.3, help="As in cae evaluate.")] = 0,
    out: OutOption = None,
) -> None:
    """Evaluate several sets with several seeds, beside the floors of principal components."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.steps.offline.benchmark import as_markdown, run_benchmark

    preset = preset_of(preset, effort)
    options = ["--preset", preset] if preset else []
    options += ["--config", str(config)] if config else []
    options += ["--ablation"] if ablation else []
    options += ["--contamination", str(contamination)] if contamination else []
    result = run_benchmark(folders, seeds=[int(seed) for seed in seeds.split(",")], options=options)
    target = out or read_settings().path("bench", "quality.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    table = as_markdown(result)
    target.with_suffix(".md").write_text(table, encoding="utf-8")
    print(f"{table}\nwritten to {target} and {target.with_suffix('.md')}")


def _line_of(config: Path | None, *, channels: int) -> Line:
    import tomllib

    from cae_pipeline.errors import NotFoundError
    from cae_pipeline.settings import parse_lines

    if config is not None and not config.is_file():
        raise NotFoundError("file", str(config))
    knobs = tomllib.loads(config.read_text(encoding="utf-8")) if config else {}
    knobs = {**knobs, "model": {"channels": channels, **knobs.get("model", {})}}
    return parse_lines({"lines": {"evaluated": knobs}}, where=str(config or "built-in knobs"))["evaluated"]


def _print_evaluation(result: dict[str, Any]) -> None:
    low, high = result["false_alarm_rate_interval_95"]
    print(
        f"{result['set']}, seed {result['seed']}: {result['num_train']} normal images trained on, "
        f"{result['num_normal']} normal and {result['num_defective']} defective tested\n"
    )
    for name in ("image_auroc", "average_precision", "f1", "pixel_auroc", "pro"):
        if name in result:
            print(f"{name:20} {result[name]:.3f}")
    target = result["chosen"]["threshold"]["target_false_alarm_rate"]
    rate = result["false_alarm_rate"]
    print(f"{'false_alarm_rate':20} {rate:.3f}   95 % interval {low:.3f} to {high:.3f}, target {target:g}")
    print(f"{'train_seconds':20} {result['train_seconds']:.1f}")
    print(f"{'images_per_second':20} {result['images_per_second']:.0f}")
    print(f"{'peak_memory':20} {result['peak_memory_bytes'] / 2**20:.0f} MiB\n")
    rows = [{"defect_type": kind, **figures} for kind, figures in result["per_defect_type"].items()]
    names = ["defect_type", "num_images", "image_auroc", "average_precision", "detected", "pixel_auroc", "pro"]
    print_rows(rows, how=Format.TABLE, columns=[name for name in names if any(name in row for row in rows)])
