"""How many bits the samples of an image have, and use: null for images that were measured before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the two facts."""
    op.add_column("images", sa.Column("bit_depth", sa.Integer()))
    op.add_column("images", sa.Column("used_bits", sa.Integer()))
