#!/usr/bin/env bash
# PRAGMA incremental_vacuum(N) through the sqlite3 module of Python 3.11.
#
# Expected: the pragma returns up to N free pages to the file system, as it does in SQLite's own
#   shell and through the sqlite3 module of Python 3.10 and 3.13.
# What happens: SQLite returns a page with each step of this statement. Python 3.11 takes the first
#   step, sees no columns and leaves it at that, so one page is returned, whatever N says;
#   fetchall() changes nothing, and there is no error.
# Why a monitor cares: an SQLite file from which old results are deleted stays as large as it ever
#   was. Execute the pragma with 1 so many times.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/vacuum.py" <<'PYTHON'
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
connection.execute("CREATE TABLE t (x)")
connection.executemany("INSERT INTO t VALUES (zeroblob(4000))", [()] * 1000)
connection.execute("DELETE FROM t")


def free():
    return connection.execute("PRAGMA freelist_count").fetchone()[0]


print("Python", ".".join(map(str, sys.version_info[:3])), "SQLite", sqlite3.sqlite_version,
      file=sys.stderr)
before = free()
connection.execute("PRAGMA incremental_vacuum(200)").fetchall()
print("asked once for 200 pages, returned", before - free())
before = free()
for _ in range(200):
    connection.execute("PRAGMA incremental_vacuum(1)")
print("asked 200 times for 1 page, returned", before - free())
PYTHON
python3.11 "$folder/vacuum.py" "$folder/test.db" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
asked once for 200 pages, returned 1
asked 200 times for 1 page, returned 200
TEXT
