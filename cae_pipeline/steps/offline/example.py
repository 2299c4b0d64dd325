"""Write a commented example of the product lines file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from cae_pipeline.errors import ConfigurationError
from cae_pipeline.steps.outputs import write_output


def write_example(path: Path) -> None:
    """Write the example where no file is yet.

    Raises:
        ConfigurationError: If there is a file already, or none can be written.
    """
    if path.exists():
        raise ConfigurationError(f"{path} is there already; it is left as it is.")
    write_output(path, files("cae_pipeline").joinpath("lines.example.toml").read_bytes())
