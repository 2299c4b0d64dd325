"""`cae …`: parse, call one step, print.

Imports of what a command needs stand inside the command, so that `cae --help` answers at once.
"""

from __future__ import annotations

import os
import sys

import typer

from cae_pipeline.cli import evaluation, lines, models, nightly, pictures, queries, review, thresholds
from cae_pipeline.errors import CaeError

app = typer.Typer(
    help="Tell which of last night's images are not normal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for room in (nightly, models, thresholds, evaluation, queries, pictures, review, lines):
    room.add_to(app)

EXIT_RETRYABLE, EXIT_REFUSED = 1, 3


def main() -> None:
    """Run the command line; what a person can put right ends in one sentence, not in a traceback.

    Exit codes: 0 done, 1 failed and a retry may help, 2 wrong words, 3 refused and a retry will not help.
    """
    from cae_pipeline.cli.logs import configure_logs

    configure_logs()
    # TensorFlow tells every start about its build; read when it is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        exit_code = app(standalone_mode=False)
    except CaeError as error:
        _say(str(error))
        exit_code = EXIT_RETRYABLE if error.retryable else EXIT_REFUSED
    except typer.TyperException as error:
        _say(error.format_message())
        exit_code = error.exit_code
    except typer.Abort:
        exit_code = EXIT_RETRYABLE
    sys.exit(exit_code)


def _say(problem: str) -> None:
    # a command without its subcommand shows its help, which speaks for itself
    if problem:
        print(f"cae: {' '.join(problem.split())}", file=sys.stderr)
