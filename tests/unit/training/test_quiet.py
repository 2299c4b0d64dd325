from __future__ import annotations

import subprocess
import sys


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_importing_the_room_has_no_effect() -> None:
    code = (
        "import os, sys; before = (os.fstat(2), dict(os.environ)); import cae_pipeline.training; "
        "assert (os.fstat(2), dict(os.environ)) == before; "
        "print([name for name in ('tensorflow', 'keras', 'numpy') if name in sys.modules])"
    )
    assert _run(code).stdout.strip() == "[]"


def test_tensorflow_is_imported_without_a_word_and_errors_are_heard_afterwards() -> None:
    code = (
        "import os, sys; from cae_pipeline.training.quiet import import_tensorflow_quietly; "
        "import_tensorflow_quietly(); assert 'tensorflow' in sys.modules; os.write(2, b'heard')"
    )
    assert _run(code).stderr == "heard"
