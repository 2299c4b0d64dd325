"""Tell a webhook: one POST of JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

TIMEOUT_SECONDS = 10


def post(url: str, body: Mapping[str, Any]) -> str | None:
    """Send it.

    Returns:
        None if it was received, else what went wrong; a dead receiver is no error of ours.
    """
    if not url.startswith(("http://", "https://")):
        return f"{url!r} is no http address"
    data = json.dumps(body, default=str).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  # checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            return None
    except (OSError, ValueError) as error:  # URLError, HTTPError and timeouts are OSErrors
        return f"{url}: {error}"
