"""Logs: one line per step on standard error; in a terminal for eyes, elsewhere for machines."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def configure_logs() -> None:
    """Configure structlog, once, at the edge."""
    terminal = sys.stderr.isatty()
    renderer = (
        structlog.dev.ConsoleRenderer(colors=True)
        if terminal
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level()),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _level() -> int:
    """What CAE_LOG_LEVEL names, INFO without it; at DEBUG a command that fails also shows its traceback."""
    level = logging.getLevelNamesMapping().get(os.environ.get("CAE_LOG_LEVEL", "INFO").upper())
    return logging.INFO if level is None else level
