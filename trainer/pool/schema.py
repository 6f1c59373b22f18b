"""The pool's tables as they are at the newest migration; a test holds the two equal."""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

candidate = sa.Table(
    "candidate",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
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
    # The crop stands last: a scan of the other columns then never walks its overflow pages.
    sa.Column("crop", sa.LargeBinary, nullable=False),
    sa.Index("ix_candidate_line_state_received_at", "line", "state", "received_at"),
    sa.Index("ix_candidate_line_state_reason_gain", "line", "state", "reason", "gain", "received_at"),
)

#: Part, lot and recipe as one JSON object. Beside the candidate, not behind its crop: and most have none.
candidate_ids = sa.Table(
    "candidate_ids",
    metadata,
    sa.Column("candidate_id", sa.Text, sa.ForeignKey("candidate.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("ids", sa.Text, nullable=False),
)

embedding = sa.Table(
    "embedding",
    metadata,
    sa.Column("candidate_id", sa.Text, sa.ForeignKey("candidate.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("space", sa.Text, primary_key=True),
    sa.Column("vector", sa.LargeBinary, nullable=False),
)

rescore = sa.Table(
    "rescore",
    metadata,
    sa.Column("candidate_id", sa.Text, sa.ForeignKey("candidate.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("run", sa.Text, primary_key=True),
    sa.Column("score", sa.Float, nullable=False),
    # The class that the run sees most of in the patch; scores from before the second schema have none.
    sa.Column("predicted", sa.Integer),
)

label_task = sa.Table(
    "label_task",
    metadata,
    sa.Column("candidate_id", sa.Text, sa.ForeignKey("candidate.id"), primary_key=True),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("explanation", sa.Text, nullable=False),
    sa.Column("handed_at", sa.Float, nullable=False),
    sa.Index("ix_label_task_line_round", "line", "round"),
)

#: Rows are only ever added: triggers refuse everything else. The newest event of a candidate is its label.
label_event = sa.Table(
    "label_event",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("candidate_id", sa.Text, sa.ForeignKey("candidate.id"), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("mask", sa.LargeBinary, nullable=False),
    sa.Index("ix_label_event_candidate_id", "candidate_id"),
)

round_ = sa.Table(
    "round",
    metadata,
    sa.Column("line", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("line", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
