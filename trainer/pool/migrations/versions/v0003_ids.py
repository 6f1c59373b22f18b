"""The ids of part, lot and recipe that a candidate brings, in a table of their own: most candidates have none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the table; candidates that are there have no ids."""
    op.create_table(
        "candidate_ids",
        sa.Column("candidate_id", sa.Text, nullable=False),
        sa.Column("ids", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("candidate_id", name="pk_candidate_ids"),
        sa.ForeignKeyConstraint(
            ["candidate_id"],
            ["candidate.id"],
            name="fk_candidate_ids_candidate_id_candidate",
            ondelete="CASCADE",
        ),
    )
