"""How a command ends: one sentence and one exit code for whatever a person or a machine can put right.

This is the only place that decides which foreign exceptions become a sentence. What it does not know is a mistake of
ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

import structlog
import typer

from cae_pipeline.errors import CaeError, ConfigurationError, NotFoundError

log = structlog.get_logger()

EXIT_RETRYABLE, EXIT_WRONG_WORDS, EXIT_REFUSED, EXIT_INTERRUPTED = 1, 2, 3, 130
MAY_PASS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors of the operating system that another try may not meet: a full disk, a share that hiccups, too many files."""
BEHIND_A_DASH = "A name that begins with a dash goes behind two: cae validate LINE -- -2026-01-31"

Ending = tuple[int, str]
"""An exit code, and the sentence that is said on standard error; empty where everything is said."""


def run_to_its_end(run: Callable[[], int | None]) -> int:
    """Run a command, and say in one sentence why it failed.

    Args:
        run: Does the work and returns an exit code, or None where all is well.

    Returns:
        0 done, 1 failed and a retry may help, 2 wrong words, 3 refused and a retry will not help, 130 interrupted.
    """
    try:
        exit_code = run() or 0
        # a pipe that is gone is noticed here and not when Python ends
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up_standard_output()
        return 0
    except SystemExit as ended:
        # Typer has a code of its own for it
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        _give_up_standard_output()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        ending = ending_of(error)
        if ending is None:
            raise
        # before logs are set up structlog prints everything, and on standard output
        if structlog.is_configured():
            log.debug("command_failed", exit_code=ending[0], exc_info=True)
        exit_code, sentence = ending
        if sentence:
            print(f"cae: {' '.join(sentence.split())}", file=sys.stderr)
    return exit_code


def ending_of(error: BaseException) -> Ending | None:
    """The exit code and the sentence for an exception; None for one that is a mistake of ours."""
    for answer in (_ours, _of_the_command_line, _of_the_machine, _of_the_database):
        ending = answer(error)
        if ending is not None:
            return ending
    return None


def _ours(error: BaseException) -> Ending | None:
    if not isinstance(error, CaeError):
        return None
    if error.retryable:
        return EXIT_RETRYABLE, str(error)
    wrong_words = isinstance(error, (ConfigurationError, NotFoundError))
    return EXIT_WRONG_WORDS if wrong_words else EXIT_REFUSED, str(error)


def _of_the_command_line(error: BaseException) -> Ending | None:
    if isinstance(error, typer.TyperException):
        # a command without its subcommand shows its help, which speaks for itself
        told = error.format_message()
        return error.exit_code, f"{told} {BEHIND_A_DASH}." if told.startswith("No such option: -") else told
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):
        return EXIT_INTERRUPTED, "interrupted; what was committed before is kept"
    if isinstance(error, typer.Abort):
        return EXIT_RETRYABLE, "given up"
    if isinstance(error, UnicodeEncodeError):
        return EXIT_WRONG_WORDS, f"expected words in UTF-8, received {error.object!r}"
    return None


def _of_the_machine(error: BaseException) -> Ending | None:
    if isinstance(error, MemoryError):
        return EXIT_RETRYABLE, "there is not enough memory just now; end other programs and run this again"
    if not isinstance(error, OSError):
        return None
    place = f"{error.filename}: " if error.filename else ""
    told = f"{place}{error.strerror or type(error).__name__}"
    if error.errno in MAY_PASS or isinstance(error, (ConnectionError, TimeoutError)):
        return EXIT_RETRYABLE, f"{told}. Check the disk, the share and the network, and run this again"
    return EXIT_WRONG_WORDS, f"{told}. Expected a file or folder that is there and can be used"


def _of_the_database(error: BaseException) -> Ending | None:
    # loaded by whatever could have raised it: a command without a database does not pay for it
    exceptions = sys.modules.get("sqlalchemy.exc")
    if exceptions is None or not isinstance(error, exceptions.SQLAlchemyError):
        return None
    if isinstance(error, exceptions.DataError):
        return EXIT_WRONG_WORDS, f"the database cannot take a value that was given: {error.orig}"
    if not isinstance(error, exceptions.DBAPIError):
        return (EXIT_RETRYABLE, f"the database: {error}") if isinstance(error, exceptions.TimeoutError) else None
    problem = str(error.orig)
    if "readonly" in problem or "read-only" in problem:
        return EXIT_WRONG_WORDS, f"the database: {problem}. Expected one that can be written; check CAE_RESULTS_URL"
    if isinstance(error, (exceptions.ProgrammingError, exceptions.IntegrityError, exceptions.NotSupportedError)):
        return None
    advice = "Nothing of this step was kept that was not committed; see that the database answers, and run this again"
    return EXIT_RETRYABLE, f"the database: {problem}. {advice}"


def _give_up_standard_output() -> None:
    """Let Python's last flush go nowhere: who read the pipe has seen enough, and nothing has failed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
