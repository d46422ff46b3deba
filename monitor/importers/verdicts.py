"""Reads another monitor's last verdict on each site, whichever monitor it is."""

from contextlib import closing

from monitor.errors import ConfigError, Problem
from monitor.importers.gatus import past as of_gatus
from monitor.importers.kuma import past as of_kuma
from monitor.importers.kuma.database import is_url
from monitor.importers.sqlite import connect
from monitor.secrecy import hide_credentials
from monitor.units import Timestamp


def last_verdicts(source: str) -> dict[str, tuple[bool, Timestamp]]:
    """
    Return what was said last, and when, by the names that an import gives to sites.

    Args:
        source: Uptime Kuma's database or Gatus' store: a file or a URL.

    Raises:
        ConfigError: It cannot be read, or is neither.
    """
    if is_url(source):
        return of_kuma.last_verdicts(source)
    if source.startswith(("postgres://", "postgresql://")):
        return of_gatus.last_verdicts(source, of_gatus.endpoints(source))
    tables = _tables(source)
    if "endpoint_results" in tables:
        return of_gatus.last_verdicts(source, of_gatus.endpoints(source))
    if "heartbeat" in tables:
        return of_kuma.last_verdicts(source)
    why = "is a database of another program; name that of Uptime Kuma or Gatus"
    raise ConfigError([Problem(hide_credentials(source), 1, 1, why)])


def _tables(source: str) -> set[str]:
    with closing(connect(source, "the database of Uptime Kuma or Gatus", "kuma.db")) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master").fetchall()
    return {name for (name,) in rows}
