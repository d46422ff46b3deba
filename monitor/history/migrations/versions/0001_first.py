"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _site() -> "sa.Column[int]":
    return sa.Column(
        "site", sa.Integer, sa.ForeignKey("sites.id", ondelete="CASCADE"), primary_key=True
    )


def upgrade() -> None:
    op.create_table(
        "facts",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seat", sa.Text, nullable=False),
        sa.Column("began", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sites",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("grp", sa.Text, nullable=False),
        sa.Column("identity", sa.LargeBinary, nullable=False),
        sa.Column("run", sa.Integer, sa.ForeignKey("runs.id"), nullable=False),
        sa.Column("removed", sa.BigInteger),
        sa.Column("days_until", sa.Integer, nullable=False),
        sa.Column("hours_until", sa.Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "states",
        _site(),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("streak", sa.Integer, nullable=False),
        sa.Column("streak_since", sa.BigInteger),
        sa.Column("said", sa.Boolean),
        sa.Column("turns", sa.Integer, nullable=False),
        sa.Column("flapping", sa.Boolean, nullable=False),
        sa.Column("content", sa.Text),
        sa.Column("content_changed", sa.BigInteger),
    )
    op.create_table(
        "failures",
        _site(),
        sa.Column("time", sa.BigInteger, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "spans",
        _site(),
        sa.Column("track", sa.SmallInteger, primary_key=True),
        sa.Column("begin", sa.BigInteger, primary_key=True),
        sa.Column("end", sa.BigInteger),
        sa.Column("condition", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("spans_by_condition", "spans", ["condition", "end"])
    op.create_table(
        "outbox",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("seat", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("seq", _number, primary_key=True),
        sa.Column("seat", sa.Text, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "packed",
        sa.Column("seat", sa.Text, primary_key=True),
        sa.Column("slot", sa.SmallInteger, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "results",
        _site(),
        sa.Column("begin", sa.BigInteger, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollups",
        _site(),
        sa.Column("level", sa.SmallInteger, primary_key=True),
        sa.Column("block", sa.Integer, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "days",
        _site(),
        sa.Column("block", sa.Integer, primary_key=True),
        sa.Column("up", sa.BigInteger, nullable=False),
        sa.Column("down", sa.BigInteger, nullable=False),
        sa.Column("maintenance", sa.BigInteger, nullable=False),
        sa.Column("unknown", sa.BigInteger, nullable=False),
        sa.Column("begun", sa.BigInteger, nullable=False),
        sa.Column("was_down", sa.Boolean, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
