"""Import TensorFlow without its greeting."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def import_tensorflow_quietly() -> None:
    """Import TensorFlow for the first time without what it writes to standard error.

    TensorFlow greets every process with its build options, and its first half-precision number with what this processor
    cannot do with it, before any setting can stop it. Whoever trains calls this before the modules of this room are
    imported; without it everything works, with a few lines of noise. An exception of Python still comes through.
    """
    if "tensorflow" in sys.modules:
        return
    with _muted_stderr():
        import tensorflow

        tensorflow.cast(tensorflow.zeros(1, "float16"), "float32")


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Send the file descriptor of standard error, which C++ writes to, nowhere for a while."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
