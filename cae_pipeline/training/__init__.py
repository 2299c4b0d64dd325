"""The network: the only place that imports TensorFlow and Keras."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Mute what C++ writes to standard error; Python's own exceptions still come through."""
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


# TensorFlow greets every process with its build options, and its first half-precision number with what this processor
# cannot do with it, before any setting can stop it
with _muted_stderr():
    import tensorflow as _tensorflow

    _tensorflow.cast(_tensorflow.zeros(1, "float16"), "float32")
