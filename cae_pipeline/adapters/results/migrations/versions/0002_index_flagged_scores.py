"""An index of the flagged scores alone: what people ask for is a few in a hundred."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create it."""
    flagged = sa.text("is_anomalous")
    op.create_index("flagged_scores", "scores", ["batch_key", "score"], sqlite_where=flagged, postgresql_where=flagged)
