"""What every page shares: one look, no script, nothing from the network.

A page carries a Content Security Policy of its own, so that it is as safe opened from disk as served: even if a name
that came from outside were to stand in it unescaped, a browser would neither run nor fetch anything for it.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from cae_pipeline import __version__
from cae_pipeline.domain.calendar import told

_TEMPLATES = Path(__file__).parent / "templates"


def content_security_policy(style_source: str) -> str:
    """Forbid everything that our pages do not need; pictures are part of the file, as `data:` addresses.

    Args:
        style_source: Which styles count, such as `'unsafe-inline'` or `'sha256-…'`.
    """
    return f"default-src 'none'; img-src data:; style-src {style_source}; base-uri 'none'; form-action 'none'"


# pages that an earlier version wrote have another stylesheet, so that no digest fits them all; a page's own policy,
# which holds beside this one, names the digest of its own. A browser heeds frame-ancestors in a header only: Airflow
# shows the pages in a frame of its own origin.
SERVED_HEADERS = {
    "Content-Security-Policy": content_security_policy("'unsafe-inline'") + "; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""What goes with every answer of the web application."""


def render_page(template: str, **values: Any) -> str:
    """Fill a template; everything that is put in is escaped.

    Args:
        template: Name of a file in `templates/` that extends `page.html`.
        values: What it shows; a name that is missing is an error.
    """
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = content_security_policy(f"'sha256-{digest}'")
    page = _environment().get_template(template)
    return page.render(**values, version=__version__, policy=policy, style=style)


@cache
def _style() -> str:
    return (_TEMPLATES / "pages.css").read_text(encoding="utf-8")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["told"] = told
    return environment
