"""Facts that tell a broken camera: repeated rows or columns, texture, and a digest of the pixels.

Only columns are added; rows of before have none of them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add them."""
    op.add_column("images", sa.Column("repeated_share", sa.Float(), nullable=True))
    op.add_column("images", sa.Column("texture", sa.String(34), nullable=True))
    op.add_column("images", sa.Column("pixel_digest", sa.String(16), nullable=True))
