"""`cae …`: parse, call one step, print.

Imports of what a command needs stand inside the command, so that `cae --help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys

import typer

from cae_pipeline.cli import evaluation, lines, models, nightly, pictures, queries, review, thresholds
from cae_pipeline.cli.endings import run_to_its_end

app = typer.Typer(
    help="Tell which of last night's images are not normal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for room in (nightly, models, thresholds, evaluation, queries, pictures, review, lines):
    room.add_to(app)


def main() -> None:
    """Run the command line; what a person can put right ends in one sentence, not in a traceback.

    Exit codes: 0 done, 1 failed and a retry may help, 2 wrong words, 3 refused and a retry will not help.
    """
    from cae_pipeline.cli.logs import configure_logs

    configure_logs()
    # TensorFlow tells every start about its build; read when it is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for stream in (sys.stdout, sys.stderr):
        # names of files come from outside, and a terminal may not know their letters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run_to_its_end(lambda: app(standalone_mode=False)))
