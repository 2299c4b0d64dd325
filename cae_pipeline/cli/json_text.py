"""JSON without words that JSON does not know."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def as_json(value: object, *, indent: int | None = None) -> str:
    """Write a value as JSON: times and paths as text, NaN and infinity as null, because JSON has no word for them."""
    return json.dumps(_without_nan(value), default=str, indent=indent, allow_nan=False)


def _without_nan(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value
