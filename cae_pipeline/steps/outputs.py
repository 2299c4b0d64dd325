"""Write the files that a person asks for."""

from __future__ import annotations

from pathlib import Path

from cae_pipeline.errors import ConfigurationError


def write_output(path: Path, content: str | bytes) -> None:
    """Write a file, with the folders above it; text is written as UTF-8.

    Raises:
        ConfigurationError: If it cannot be written; says why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        reason = "a part of its folder is a file" if _is_below_a_file(path) else error.strerror
        raise ConfigurationError(
            f"{path} cannot be written: {reason}. Expected a file in a folder that can be written."
        ) from error


def _is_below_a_file(path: Path) -> bool:
    return any(folder.is_file() for folder in path.parents)
