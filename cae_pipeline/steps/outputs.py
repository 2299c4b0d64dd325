"""Write the files that a person asks for."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cae_pipeline.errors import ConfigurationError

IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_output(path: Path, content: str | bytes) -> None:
    """Write a file, with the folders above it; text is written as UTF-8.

    Raises:
        ConfigurationError: If it cannot be written; says why.
        OSError: If the disk is full.
    """
    with open_output(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Open a file to be written, with the folders above it; it is there whole in the end, or as it was before.

    Raises:
        ConfigurationError: If it cannot be written; says why.
        OSError: If the disk is full.
    """
    path = path.expanduser()
    # what is no file, such as /dev/stdout, is written as it is
    is_new = not path.exists() or path.is_file()
    part = path.with_name(f".{os.getpid()}.part") if is_new else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
        if is_new:
            part.replace(path)
    except OSError as error:
        if error.errno in IS_FULL:
            error.filename = str(path)
            raise
        reason = "a part of its folder is a file" if _is_below_a_file(path) else error.strerror
        raise ConfigurationError(
            f"{path} cannot be written: {reason}. Expected a file in a folder that can be written."
        ) from error
    finally:
        if is_new and not _is_below_a_file(path):
            part.unlink(missing_ok=True)


def _is_below_a_file(path: Path) -> bool:
    return any(folder.is_file() for folder in path.parents)
