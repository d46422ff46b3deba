"""
The tables, once for SQLite and PostgreSQL; migrations/ makes them and brings older ones up to date.

Moments are whole milliseconds since 1970 in UTC. What there is very much of lies in few rows,
packed as rollup.py and days.py say.
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
"""What is true of the store as a whole: the salt of identities, how far hubs read the stream."""

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("seat", Text, nullable=False),  # which shard of how many; one daemon sits there
    Column("began", BigInteger, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("version", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""One row for each life of a daemon: what it did not see after ``last_seen``, nobody saw."""

sites = Table(
    "sites",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("grp", Text, nullable=False),
    Column("identity", LargeBinary, nullable=False),  # whether it still is the same site
    Column("run", Integer, ForeignKey("runs.id"), nullable=False),  # who writes of it
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
"""What the engine knows of a site, beside what its results tell."""

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
    Column("end", BigInteger),  # none while it lasts
    Column("condition", Text, nullable=False),
    Column("reason", Text),
    Column("message", Text, nullable=False),
    sqlite_with_rowid=False,
)

# No index of only those that last: to name one would load PostgreSQL's dialect for SQLite too
Index("spans_by_condition", spans.c.condition, spans.c.end)

outbox = Table(
    "outbox",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("seat", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),  # see messages/route.py
)
"""What was told to whom, and the messages that wait."""

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
"""Up to which row of the journal the sites of a slot are packed."""

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
"""With row numbers of SQLite's: without, rows above 1 KB would have pages of their own."""

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
