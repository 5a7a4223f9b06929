"""Running controllers: their state, what is wanted of them, and their records."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "controllers",
        sa.Column("plant", sa.String(length=64), nullable=False),
        sa.Column("state", sa.JSON(), nullable=True),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.JSON(), nullable=True),
        sa.Column("wanted_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["plant"], ["plants.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("plant"),
    )
    op.create_table(
        "controller_records",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("plant", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["plant"], ["plants.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("plant", "run", "number"),
    )
    op.create_index("controller_records_by_time", "controller_records", ["plant", "at"], unique=False)
