"""
The tables, once for SQLite and PostgreSQL; migrations/ creates them and upgrades older ones.

Moments are whole milliseconds since 1970 in UTC. Very numerous data is packed into few rows, as
rollup.py and days.py describe.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

REVISION = "0001"
"""The newest of migrations/versions; what this program reads and writes."""

STATE_TRACK = 0
MAINTENANCE_TRACK = 1

metadata = MetaData()

_number = BigInteger().with_variant(Integer(), "sqlite")  # there, only INTEGER counts by itself


def _site() -> "Column[int]":
    return Column("site", Integer, ForeignKey("sites.id", ondelete="CASCADE"), primary_key=True)


facts = Table(
    "facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""Facts about the store as a whole: the salt of identities, how far hubs read the stream."""

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seat", Text, nullable=False),  # which shard of how many; one daemon has it
    Column("began", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""One row for each run of a daemon: after ``last_seen``, it observed nothing."""

sites = Table(
    "sites",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("grp", Text, nullable=False),
    Column("identity", LargeBinary, nullable=False),  # shows whether it is still the same site
    Column("run", Integer, ForeignKey("runs.id"), nullable=False),  # which run writes about it
    Column("removed", BigInteger),  # when it left the list
    Column("days_until", Integer, nullable=False),  # the first day that is not summed up yet
    Column("hours_until", Integer, nullable=False),  # the first hour that is not rolled up yet
    sqlite_autoincrement=True,
)

states = Table(
    "states",
    metadata,
    _site(),
    Column("as_of", BigInteger, nullable=False),  # the last result that is in it
    Column("status", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("streak", Integer, nullable=False),
    Column("streak_since", BigInteger),
    Column("said", Boolean),
    Column("turns", Integer, nullable=False),
    Column("flapping", Boolean, nullable=False),
    Column("content", Text),
    Column("content_changed", BigInteger),
)
"""What the engine knows about a site in addition to its results."""

failures = Table(
    "failures",
    metadata,
    _site(),
    Column("time", BigInteger, primary_key=True),
    Column("data", LargeBinary, nullable=False),  # see evidence.py
)

spans = Table(
    "spans",
    metadata,
    _site(),
    Column("track", SmallInteger, primary_key=True),
    Column("begin", BigInteger, primary_key=True),
    Column("end", BigInteger),  # NULL while it lasts
    Column("condition", Text, nullable=False),
    Column("reason", Text),
    Column("message", Text, nullable=False),
    sqlite_with_rowid=False,
)

# No partial index of open spans: that would load PostgreSQL's dialect for SQLite too
Index("spans_by_condition", spans.c.condition, spans.c.end)

outbox = Table(
    "outbox",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("seat", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # see messages/rows.py
)
"""What each channel was told, and the messages that wait."""

journal = Table(
    "journal",
    metadata,
    Column("seq", _number, primary_key=True),
    Column("seat", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # see journal.py
    sqlite_autoincrement=True,
)
"""The results of the last minutes, one row for each transaction, until they are packed."""

packed = Table(
    "packed",
    metadata,
    Column("seat", Text, primary_key=True),
    Column("slot", SmallInteger, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)
"""Up to which row of the journal the sites of each slot are packed."""

results = Table(
    "results",
    metadata,
    _site(),
    Column("begin", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

rollups = Table(
    "rollups",
    metadata,
    _site(),
    Column("level", SmallInteger, primary_key=True),
    Column("block", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)
"""With SQLite's row numbers: without them, rows above 1 KB would have their own pages."""

days = Table(
    "days",
    metadata,
    _site(),
    Column("block", Integer, primary_key=True),
    # Sums of all days before the block, so that any window is a difference
    Column("up", BigInteger, nullable=False),
    Column("down", BigInteger, nullable=False),
    Column("maintenance", BigInteger, nullable=False),
    Column("unknown", BigInteger, nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("was_down", Boolean, nullable=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
