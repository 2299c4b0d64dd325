"""Tell a webhook: one POST of JSON.

The address of a webhook is a secret: whoever knows it may write there. Messages name its scheme and host only.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_exponential_jitter

TIMEOUT_SECONDS = 10
"""Of one attempt."""
PATIENCE_SECONDS = 20
"""After this long no further attempt is begun."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 8.0
"""Pauses between attempts double from the first to the longest, and vary so that not all come back at once."""
TOO_MANY_REQUESTS, SERVER_ERRORS = 429, range(500, 600)

_silent_receivers: set[str] = set()
"""Receivers that this process has tried in vain for `PATIENCE_SECONDS`: they get one attempt for each message more."""


def post(url: str, body: Mapping[str, Any]) -> str | None:
    """Send a message; try again where the receiver cannot be reached, is busy (429) or is broken (5xx).

    Args:
        url: An http or https address.
        body: Is sent as JSON.

    Returns:
        None if it was received, else what went wrong; a dead receiver is no error of ours.
    """
    where = _without_secrets(url)
    if not where.startswith(("http://", "https://")):
        return f"the webhook's address begins with {where!r}; expected http:// or https://"
    attempts = Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_before_delay(0 if url in _silent_receivers else PATIENCE_SECONDS),
        wait=wait_exponential_jitter(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        reraise=True,
    )
    try:
        attempts(_send, url, json.dumps(body, default=str).encode())
    except urllib.error.HTTPError as error:
        problem = f"{where} answers {error.code} {error.reason}"
    except OSError as error:
        problem = f"{where} cannot be reached: {getattr(error, 'reason', error)}"
    except (HTTPException, ValueError) as error:
        # the text of these errors may quote the address
        problem = f"{where} cannot be reached: {type(error).__name__}; is the address spelt correctly?"
    else:
        _silent_receivers.discard(url)
        return None
    _silent_receivers.add(url)
    return problem


def _send(url: str, data: bytes) -> None:
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  # checked by `post`
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
        pass


def _may_pass(error: BaseException) -> bool:
    """Whether the same message may be received a little later."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code == TOO_MANY_REQUESTS or error.code in SERVER_ERRORS
    return isinstance(error, OSError)


def _without_secrets(url: str) -> str:
    """Scheme and host of an address; not what stands before the host, nor after it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"
