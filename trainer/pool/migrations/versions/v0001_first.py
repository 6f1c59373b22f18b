"""The first schema: candidates, embeddings, scores, hand-overs, labels, rounds, counters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_REFUSALS = (("label_event", "update"), ("label_event", "delete"))


def upgrade() -> None:
    """Create every table."""
    _candidates()
    _arrays()
    _labels()
    op.create_table(
        "round",
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("line", "number", name="pk_round"),
    )
    op.create_table(
        "counter",
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("line", "name", name="pk_counter"),
    )


def _candidates() -> None:
    op.create_table(
        "candidate",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("camera", sa.Text, nullable=False),
        sa.Column("frame", sa.BigInteger, nullable=False),
        sa.Column("captured_at", sa.Float, nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("col", sa.Integer, nullable=False),
        sa.Column("inside_h", sa.Integer, nullable=False),
        sa.Column("inside_w", sa.Integer, nullable=False),
        sa.Column("release", sa.Text),
        sa.Column("score", sa.Float),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("gain", sa.Float),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("crop_format", sa.Text, nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("crop", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_candidate"),
    )
    op.create_index("ix_candidate_line_state_received_at", "candidate", ["line", "state", "received_at"])
    op.create_index(
        "ix_candidate_line_state_reason_gain", "candidate", ["line", "state", "reason", "gain", "received_at"]
    )


def _arrays() -> None:
    for table, key, value in (
        ("embedding", "space", sa.Column("vector", sa.LargeBinary, nullable=False)),
        ("rescore", "run", sa.Column("score", sa.Float, nullable=False)),
    ):
        op.create_table(
            table,
            sa.Column("candidate_id", sa.Text, nullable=False),
            sa.Column(key, sa.Text, nullable=False),
            value,
            sa.PrimaryKeyConstraint("candidate_id", key, name=f"pk_{table}"),
            sa.ForeignKeyConstraint(
                ["candidate_id"], ["candidate.id"], name=f"fk_{table}_candidate_id_candidate", ondelete="CASCADE"
            ),
        )


def _labels() -> None:
    op.create_table(
        "label_task",
        sa.Column("candidate_id", sa.Text, nullable=False),
        sa.Column("line", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("explanation", sa.Text, nullable=False),
        sa.Column("handed_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("candidate_id", name="pk_label_task"),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidate.id"], name="fk_label_task_candidate_id_candidate"),
    )
    op.create_index("ix_label_task_line_round", "label_task", ["line", "round"])
    op.create_table(
        "label_event",
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("candidate_id", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("mask", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_label_event"),
        sa.UniqueConstraint("id", name="uq_label_event_id"),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidate.id"], name="fk_label_event_candidate_id_candidate"),
    )
    op.create_index("ix_label_event_candidate_id", "label_event", ["candidate_id"])
    for table, act in _REFUSALS:
        op.execute(
            f"CREATE TRIGGER {table}_no_{act} BEFORE {act.upper()} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'label events are never changed or removed; add a newer one'); END"
        )
