"""Turns the monitors, status pages and maintenance of Uptime Kuma into a site list."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from monitor.config.keys import Tables
from monitor.importers.draft import ListDraft, SiteDraft
from monitor.importers.imported import Imported, finished
from monitor.importers.kuma.database import Database, flag, number, opened, setting
from monitor.importers.kuma.monitors import Columns, MonitorReader
from monitor.importers.kuma.notifications import Notifications
from monitor.importers.values import bracketed

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED = frozenset({"job", "instance", "site", "target", "group", "name", "url"})
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WEEKLY = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* (\*|\d(?:,\d)*)")
_DEEPEST = 20


def imported(source: str, tables: Tables, environ: Mapping[str, str]) -> Imported:
    """
    Return the monitors of a database as a list of ours.

    Args:
        source: The path of an SQLite file, or ``mysql://USER:PASSWORD@HOST/DATABASE``.

    Raises:
        ConfigError: It cannot be read, or holds no monitor.
    """
    with opened(source) as database:
        draft = _KumaLister(database).draft(environ)
    return finished(draft, tables, environ)


def sites_of(database: Database) -> dict[str, int]:
    """Return the number of each monitor by its name in our list, including skipped ones."""
    return _KumaLister(database).numbers()


class _KumaLister:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._monitors = {int(row["id"]): row for row in database.rows("monitor")}
        self._sites: dict[int, SiteDraft] = {}

    def draft(self, environ: Mapping[str, str]) -> ListDraft:
        name = self._database.shown.rpartition("/")[2]
        whole = ListDraft(self._database.shown, f"From {name} of Uptime Kuma.")
        whole.secrets.reserve(environ)
        self._read_monitors(whole)
        self._tags()
        self._maintenance(whole)
        self._pages(whole)
        self._notifications(whole)
        if self._database.rows("user"):
            whole.dropped("user", "--web-config has users and passwords", quiet=True)
        if self._database.rows("api_key"):
            whole.dropped("api_key", "--web-config has users and passwords", quiet=True)
        return whole

    def numbers(self) -> dict[str, int]:
        """Return the number of each monitor by the name of its site."""
        self._read_monitors(ListDraft("", ""))
        return {str(site.keys["name"]): key for key, site in self._sites.items()}

    # ------------------------------------------------------------ monitors

    def _read_monitors(self, whole: ListDraft) -> None:
        reader = MonitorReader(self._proxies(whole))
        shown = [
            (key, row) for key, row in self._monitors.items() if str(row.get("type")) != "group"
        ]
        shown.sort(key=lambda one: (self._group_of(one[1]) or "", one[0]))
        counts = Counter(str(row.get("name") or "").strip() for _, row in shown)
        taken: set[str] = set()
        for key, row in shown:
            own = str(row.get("name") or "").strip() or f"monitor {key}"
            group = self._group_of(row)
            name = f"{group} {own}" if counts[own] > 1 and group else own
            base, again = name, 2
            while name in taken:
                name, again = f"{base} {again}", again + 1
            taken.add(name)
            site = self._sites[key] = whole.site(f"{group} / {own}" if group else own)
            site.put("name", name)
            if name == own:
                site.carried("name", "name")
            else:
                site.changed("name", "name", "names are unique here")
            if group:
                site.carry("parent", "group", group)
            if not self._is_active(row):
                site.leave_out("active", "it is paused")
            columns = Columns(row)
            for column in ("name", "parent", "active", "id", "user_id", "created_date"):
                columns.take(column)
            reader.read(site, columns)
        for row in self._monitors.values():
            if row.get("type") == "group":
                whole.carried(f"group {row.get('name')}", "group", "it has no state of its own")

    def _group_of(self, row: Mapping[str, Any]) -> str | None:
        names: list[str] = []
        above = self._parent_of(row)
        while above is not None and len(names) < _DEEPEST:
            names.insert(0, str(above.get("name") or "").strip())
            above = self._parent_of(above)
        return " / ".join(names) or None

    def _parent_of(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        parent = number(row, "parent")
        return None if parent is None else self._monitors.get(parent)

    def _is_active(self, row: Mapping[str, Any]) -> bool:
        for _ in range(_DEEPEST):
            if not flag(row, "active", default=True):
                return False
            above = self._parent_of(row)
            if above is None:
                return True
            row = above
        return True

    def _proxies(self, whole: ListDraft) -> dict[int, str]:
        found = {}
        for row in self._database.rows("proxy"):
            shown = f"proxy {row['host']}"
            scheme = "socks5" if row["protocol"] == "socks" else row["protocol"]
            login = ""
            if flag(row, "auth"):
                login = f"{row.get('username') or ''}:{row.get('password') or ''}@"
            if flag(row, "active", default=True):
                whole.carried(shown, "http.proxy")
                found[int(row["id"])] = (
                    f"{scheme}://{login}{bracketed(str(row['host']))}:{row['port']}"
                )
            else:
                whole.dropped(shown, "it is not active", quiet=True)
        return found

    def _tags(self) -> None:
        names = {int(row["id"]): str(row["name"]) for row in self._database.rows("tag")}
        for row in self._database.rows("monitor_tag"):
            site = self._sites.get(number(row, "monitor_id") or 0)
            name = names.get(number(row, "tag_id") or 0)
            if site is None or name is None:
                continue
            label = re.sub(r"[^a-zA-Z0-9_]+", "_", name.strip().lower()).strip("_")
            if not _LABEL.fullmatch(label) or label in _RESERVED:
                label = f"tag_{label or row['tag_id']}"
            site.keys.setdefault("labels", {})[label] = str(row.get("value") or "true")
            if label == name:
                site.carried(f"tag {name}", f"labels.{label}")
            else:
                site.changed(
                    f"tag {name}", f"labels.{label}", "a label's name has letters, digits, _"
                )

    # ------------------------------------------------------------ maintenance

    def _maintenance(self, whole: ListDraft) -> None:
        zone = setting(self._database, "serverTimezone") or "UTC"
        members: dict[int, list[int]] = {}
        for one, member in self._database.links(
            "monitor_maintenance", "maintenance_id", "monitor_id"
        ):
            members.setdefault(one, []).append(member)
        for row in self._database.rows("maintenance"):
            title = f"maintenance {row.get('title')}"
            if not flag(row, "active", default=True):
                whole.dropped(title, "it is not active", quiet=True)
                continue
            try:
                window = _window(row, zone)
            except (ValueError, TypeError):  # the database has an invalid window
                window = None
            if window is None:
                strategy = row.get("strategy")
                why = f"{strategy} has no counterpart; write windows with start and end"
                whole.dropped(title, why)
                continue
            whole.carried(title, "maintenance")
            for member in members.get(int(row["id"]), []):
                for site in self._with_children(member):
                    site.keys.setdefault("maintenance", []).append(window)

    def _with_children(self, monitor: int) -> list[SiteDraft]:
        return [site for key, site in self._sites.items() if monitor in self._with_groups(key)]

    # ------------------------------------------------------------ pages, notifications

    def _pages(self, whole: ListDraft) -> None:
        groups = {int(row["id"]): row for row in self._database.rows("group", "weight")}
        shown: dict[int, list[str]] = {}
        members = self._database.links("monitor_group", "group_id", "monitor_id", "weight")
        for one, group in groups.items():
            page_number = number(group, "status_page_id")
            for of, member in members:
                site = self._sites.get(member)
                if of == one and site and page_number is not None:
                    shown.setdefault(page_number, []).append(site.item)
        pages: list[dict[str, Any]] = []
        paths: dict[int, str] = {}
        for row in self._database.rows("status_page"):
            path = f"/status/{row['slug']}"
            items = shown.get(int(row["id"]), [])
            sites = [one.keys["name"] for one in whole.kept if one.item in items]
            if not sites:
                whole.dropped(f"status page {row['slug']}", "it shows nothing that is checked here")
                continue
            page: dict[str, Any] = {"path": path, "title": str(row["title"]), "sites": sites}
            if flag(row, "published", default=True) and not row.get("password"):
                page["public"] = True
            pages.append(page)
            paths[int(row["id"])] = path
            whole.carried(f"status page {row['slug']}", "pages")
            self._page_looks(whole, row)
        if pages:
            whole.top["pages"] = pages
            self._announcements(whole, paths)

    def _page_looks(self, whole: ListDraft, row: Mapping[str, Any]) -> None:
        for field in ("description", "footer_text", "custom_css", "password", "analytics_id",
                      "google_analytics_tag_id", "rss_title"):  # fmt: skip
            if row.get(field):
                why = "pages look the same here, and a log-in is by --web-config"
                whole.dropped(f"status page {row['slug']}: {field}", why, quiet=True)

    def _announcements(self, whole: ListDraft, paths: Mapping[int, str]) -> None:
        found: dict[str, dict[str, Any]] = {}
        for row in self._database.rows("incident"):
            path = paths.get(number(row, "status_page_id") or 0)
            if not flag(row, "active", default=True) or path is None:
                whole.dropped(f"incident {row.get('title')}", "it is over", quiet=True)
                continue
            at = str(row["created_date"])[:16].replace(" ", "T")
            if at in found:
                whole.dropped(f"incident {row.get('title')}", "another began in the same minute")
                continue
            title, text = str(row["title"]), str(row.get("content") or "")
            found[at] = {"at": at, "title": title, "text": text, "pages": [path]}
            whole.carried(f"incident {title}", "announcements")
        if found:
            whole.top["announcements"] = list(found.values())

    def _notifications(self, whole: ListDraft) -> None:
        found = Notifications(whole, self._database.rows("notification"))
        used: dict[int, list[int]] = {}
        for monitor, one in self._database.links(
            "monitor_notification", "monitor_id", "notification_id"
        ):
            used.setdefault(monitor, []).append(one)
            self._tell_notification(whole, monitor, found, one)
        if not found.ordered:
            return
        for monitor, site in self._sites.items():
            numbers = [one for member in self._with_groups(monitor) for one in used.get(member, [])]
            told = {found.receivers.get(one) for one in numbers}
            site.put("notify", [name for name in found.ordered if name in told])

    def _tell_notification(
        self, whole: ListDraft, monitor: int, found: Notifications, one: int
    ) -> None:
        """Report what became of one notification of a monitor."""
        if one not in found.names:
            return
        path = f"notification {found.names[one]}"
        row = self._monitors.get(monitor, {})
        if row.get("type") == "group":
            why = "it hears of every site of the group, which has no state of its own"
            whole.changed(f"group {row.get('name')}: {path}", "notify", why)
        elif monitor in self._sites and one in found.receivers:
            self._sites[monitor].carried(path, "notify")
        elif monitor in self._sites:
            self._sites[monitor].dropped(path, "there is no such receiver", quiet=True)

    def _with_groups(self, monitor: int) -> list[int]:
        """Return the number of a monitor, and those of its groups."""
        found = [monitor]
        while len(found) < _DEEPEST and (above := self._parent_of(self._monitors[found[-1]])):
            found.append(int(above["id"]))
        return found


def _window(row: Mapping[str, Any], server_zone: str) -> dict[str, Any] | None:
    """Return a maintenance as one of our windows; None if it is of another kind."""
    zone = str(row.get("timezone") or server_zone)
    zone = server_zone if zone in ("SAME_AS_SERVER", "") else zone
    strategy = row.get("strategy")
    window: dict[str, Any] | None = None
    if strategy == "single" and row.get("start_date") and row.get("end_date"):
        window = {"start": _minute(row["start_date"]), "end": _minute(row["end_date"])}
    elif strategy == "recurring-weekday" or (
        strategy == "recurring-interval" and int(row.get("interval_day") or 0) == 1
    ):
        days = [_DAYS[int(day) % 7] for day in json.loads(row.get("weekdays") or "[]")]
        window = {"days": days} if days and strategy == "recurring-weekday" else {}
        window |= {"from": _clock(row.get("start_time")), "to": _clock(row.get("end_time"))}
    elif strategy == "cron" and (found := _WEEKLY.fullmatch(str(row.get("cron") or "").strip())):
        begin = int(found[2]) * 60 + int(found[1])
        end = (begin + int(row.get("duration") or 0) // 60) % 1440
        days = [] if found[3] == "*" else [_DAYS[int(day) % 7] for day in found[3].split(",")]
        window = {"days": days} if days else {}
        window |= {"from": _of_day(begin), "to": _of_day(end)}
    if window is not None and zone != "UTC":
        window["timezone"] = zone
    return window


def _minute(value: Any) -> str:
    return str(value)[:16].replace(" ", "T")


def _clock(value: Any) -> str:
    hours, _, rest = str(value or "0:0").partition(":")
    return f"{int(hours):02}:{rest[:2] or '00'}"


def _of_day(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
