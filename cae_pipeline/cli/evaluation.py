"""How well defects are found, on anyone's folders of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cae_pipeline.cli.exports import Kinds
from cae_pipeline.cli.json_text import as_json
from cae_pipeline.cli.printing import Format, print_rows
from cae_pipeline.cli.shared import EffortOption, OutOption, PresetOption, SeedOption, preset_of, with_training

if TYPE_CHECKING:
    from cae_pipeline.steps.offline.evaluate_folder import EvaluationSettings

TYPE_KINDS: Kinds = {
    "defect_type": str,
    "num_images": int,
    **dict.fromkeys(("image_auroc", "average_precision", "detected", "pixel_auroc", "pro"), float),
}
LEFT_OUT = {
    "num_held_out": "{} of the normal images were set aside for the test: there is no test/good",
    "unreadable": "{} files could not be read",
    "unused_masks": "{} masks belong to no image and were left out",
    "without_mask": "{} defective images have no mask",
    "outliers": "{} of the normal images are unlike all others",
}
"""Key of an evaluation → what people are told of it; the file that is written names each."""
AblationOption = Annotated[bool, typer.Option("--ablation", help="Judge with each head alone and without each.")]
ContaminationOption = Annotated[
    float,
    typer.Option("--contamination", min=0, max=0.3, help="Share of defective images hidden among the normal ones."),
]
# a bracket without the backslash would be taken for a style and not be shown
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help=r"TOML with the knobs of one line: \[model], \[training], …")
]


def add_to(app: typer.Typer) -> None:
    """Give the commands to the application."""
    for command in (evaluate, benchmark):
        app.command(rich_help_panel="Models")(command)


def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Images in the layout of MVTec AD, or normal images alone.")
    ],
    seed: SeedOption = None,
    preset: PresetOption = None,
    effort: EffortOption = None,
    ablation: AblationOption = False,
    contamination: ContaminationOption = 0,
    config: ConfigOption = None,
    out: OutOption = None,
    how: Annotated[Format, typer.Option("--format", "-f", help="table or json.")] = Format.TABLE,
) -> None:
    """Train on a folder's normal images and work out how well its defects are found."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.steps.offline.evaluate_folder import evaluate_folder
    from cae_pipeline.steps.outputs import write_output
    from cae_pipeline.wiring import show_progress

    settings = _settings_of(
        config, seed=seed, preset=preset_of(preset, effort), ablation=ablation, contamination=contamination
    )
    name = f"{folder.resolve().name}-seed{settings.line.training.seed}.json"
    target = out or read_settings().path("evaluations", name)
    maps_to = target.with_name(f"{target.stem}-maps")
    result = evaluate_folder(folder, replace(settings, maps_to=maps_to), progress=show_progress)
    write_output(target, as_json(result, indent=2) + "\n")
    if how is Format.JSON:
        print(as_json(result, indent=2))
        return
    _print_evaluation(result)
    print(f"\nwritten to {target}, maps to {maps_to}")


def benchmark(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Sets in the layout of MVTec AD.")],
    seeds: Annotated[str, typer.Option(help="Whole numbers from 0, separated by commas.")] = "0,1,2",
    preset: PresetOption = None,
    effort: EffortOption = None,
    config: ConfigOption = None,
    ablation: AblationOption = False,
    contamination: ContaminationOption = 0,
    out: OutOption = None,
) -> None:
    """Evaluate several sets with several seeds, beside the floors of principal components."""
    from cae_pipeline.settings import read_settings
    from cae_pipeline.steps.offline.benchmark import as_markdown, run_benchmark
    from cae_pipeline.steps.outputs import write_output

    numbers = _seeds(seeds)
    settings = _settings_of(config, preset=preset_of(preset, effort), ablation=ablation, contamination=contamination)
    result = run_benchmark(folders, seeds=numbers, settings=settings)
    target = out or read_settings().path("bench", "quality.json")
    table = as_markdown(result)
    write_output(target, as_json(result, indent=2) + "\n")
    write_output(target.with_suffix(".md"), table)
    print(f"{table}\nwritten to {target} and {target.with_suffix('.md')}")


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter(f"--seeds: expected whole numbers from 0 such as 0,1,2, received {text!r}")
    return [int(part) for part in parts]


def _settings_of(
    config: Path | None, *, preset: str | None, ablation: bool, contamination: float, seed: int | None = None
) -> EvaluationSettings:
    """Put the knobs of a file and the options together; the images say whether three channels are needed, if not it."""
    from cae_pipeline.adapters.decoding import DecodeLimits
    from cae_pipeline.lines_file import parse_lines, read_toml
    from cae_pipeline.settings import read_settings
    from cae_pipeline.steps.offline.evaluate_folder import EvaluationSettings

    knobs = read_toml(config) if config else {}
    line = parse_lines({"lines": {"evaluated": knobs}}, where=str(config or "built-in knobs"))["evaluated"]
    line = replace(line, area=line.area.beside(config.parent if config else Path()))
    settings = read_settings()
    return EvaluationSettings(
        with_training(line, seed=seed, preset=preset),
        DecodeLimits(max_bytes=settings.max_bytes, max_pixels=settings.max_pixels),
        finds_channels="channels" not in knobs.get("model", {}),
        ablation=ablation,
        contamination=contamination,
    )


def _print_evaluation(result: dict[str, Any]) -> None:
    low, high = result["false_alarm_rate_interval_95"]
    print(
        f"{result['set']}, seed {result['seed']}: {result['num_train']} normal images trained on, "
        f"{result['num_normal']} normal and {result['num_defective']} defective tested"
    )
    for key, told in LEFT_OUT.items():
        if result[key]:
            print(told.format(len(result[key]) if isinstance(result[key], list) else result[key]))
    print()
    for name in ("image_auroc", "average_precision", "f1", "pixel_auroc", "pro"):
        if name in result:
            print(f"{name:20} {result[name]:.3f}")
    target = result["chosen"]["threshold"]["target_false_alarm_rate"]
    rate = result["false_alarm_rate"]
    print(f"{'false_alarm_rate':20} {rate:.3f}   95 % interval {low:.3f} to {high:.3f}, target {target:g}")
    print(f"{'train_seconds':20} {result['train_seconds']:.1f}")
    print(f"{'images_per_second':20} {result['images_per_second']:.0f}")
    print(f"{'peak_memory':20} {result['peak_memory_bytes'] / 2**20:.0f} MiB")
    print(f"{'threshold':20} {result['chosen']['threshold']['value']:.4g}")
    rows = [{"defect_type": kind, **figures} for kind, figures in result["per_defect_type"].items()]
    if not rows:
        return
    print()
    shown = {name: kind for name, kind in TYPE_KINDS.items() if any(name in row for row in rows)}
    print_rows(rows, how=Format.TABLE, kinds=shown)
