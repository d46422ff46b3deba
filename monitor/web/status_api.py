"""
A status page in the form of Statuspage's API v2, so that aggregators and widgets can read it.

Components are sites and groups, incidents are outages and announcements, scheduled maintenances
are windows. Times are RFC 3339 in UTC.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from monitor.model import Status, Timestamp
from monitor.report import moment
from monitor.statuspage import Announcement
from monitor.web.incidents import Incident, Turn, token
from monitor.web.public import Component, Maintenance, View, describe

_STATES: Mapping[Status, str] = {
    Status.UP: "operational",
    Status.DOWN: "major_outage",
    Status.MAINTENANCE: "under_maintenance",
    Status.UNKNOWN: "",  # Statuspage's value for a component without a known state
}
_DESCRIPTIONS: Mapping[str, str] = {
    "minor": "Minor Service Outage",
    "major": "Partial System Outage",
    "critical": "Major Service Outage",
}


class StatusApi:
    """
    The answers about one view.

    Args:
        url: The URL of the page for its readers.
    """

    def __init__(self, view: View, url: str) -> None:
        self._view = view
        self._url = url
        self._page_id = token("page", view.page.path)

    def answer(self, name: str) -> dict[str, Any]:
        """
        Return the answer for a path below the page's ``api/v2/``, such as ``incidents/unresolved``.

        Raises:
            LookupError: There is no such path.
        """
        return {"page": self._page, **self.ANSWERS[name](self)}

    # ------------------------------------------------------------ the answers

    def _summary(self) -> dict[str, Any]:
        return {
            **self._components(),
            **self._unresolved(),
            **self._maintenances(),
            **self._status(),
        }

    def _status(self) -> dict[str, Any]:
        counts = self._view.counts
        indicator = self._view.impact(counts[Status.DOWN])
        described = _DESCRIPTIONS.get(indicator)
        if described is None:
            described = "All Systems Operational"
            if counts[Status.MAINTENANCE]:
                described = "Service Under Maintenance"
            if counts[Status.UNKNOWN]:
                described = "Some Systems Could Not Be Checked"
        return {"status": {"indicator": indicator, "description": described}}

    def _components(self) -> dict[str, Any]:
        return {"components": self._listed}

    def _incidents(self) -> dict[str, Any]:
        found = [self._incident(one) for one in self._view.incidents]
        found += [self._announcement(one) for one in self._view.announcements]
        return {"incidents": sorted(found, key=lambda one: one["started_at"], reverse=True)}

    def _unresolved(self) -> dict[str, Any]:
        found = self._incidents()["incidents"]
        return {"incidents": [one for one in found if one["resolved_at"] is None]}

    def _maintenances(self) -> dict[str, Any]:
        found = [self._maintenance(one) for one in self._view.maintenance]
        return {"scheduled_maintenances": found}

    def _upcoming(self) -> dict[str, Any]:
        return self._maintenances_that_are("scheduled")

    def _active(self) -> dict[str, Any]:
        return self._maintenances_that_are("in_progress")

    def _maintenances_that_are(self, status: str) -> dict[str, Any]:
        found = self._maintenances()["scheduled_maintenances"]
        return {"scheduled_maintenances": [one for one in found if one["status"] == status]}

    # ------------------------------------------------------------ the page and its components

    @cached_property
    def _page(self) -> dict[str, Any]:
        news = (
            *(one.since for one in self._view.components),
            *(one.updated for one in self._view.incidents),
            *(one.begin for one in self._view.announcements),
        )
        return {
            "id": self._page_id,
            "name": self._view.page.title,
            "url": self._url,
            "time_zone": "Etc/UTC",
            "updated_at": moment(max(news, default=0.0)),
        }

    @cached_property
    def _listed(self) -> list[dict[str, Any]]:
        return list(self._every_component())

    @cached_property
    def _by_name(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self._listed if not one["group"]}

    def _every_component(self) -> Iterator[dict[str, Any]]:
        position = 0
        for section in self._view.sections:
            group_id = None
            if section.name:
                position += 1
                group_id = token("group", self._view.page.path, section.name)
                yield {
                    **self._component(group_id, section.name, position),
                    "status": _worst(section.components),
                    "updated_at": moment(max(one.since for one in section.components)),
                    "group": True,
                    "components": [one.id for one in section.components],
                }
            for one in section.components:
                position += 1
                yield {
                    **self._component(one.id, one.name, position),
                    "status": _STATES[one.state],
                    "updated_at": moment(one.since),
                    "group_id": group_id,
                    "group": False,
                }

    def _component(self, identifier: str, name: str, position: int) -> dict[str, Any]:
        return {
            "id": identifier,
            "name": name,
            "created_at": moment(0.0),  # the time is not recorded, and typed clients demand one
            "position": position,
            "description": None,
            "showcase": True,
            "start_date": None,
            "group_id": None,
            "page_id": self._page_id,
            "only_show_if_degraded": False,
        }

    # ------------------------------------------------------------ what happens

    def _incident(self, incident: Incident) -> dict[str, Any]:
        identifier = incident_id(self._view, incident)
        over = incident.end is not None
        updates = []
        for number, turn in enumerate(incident.turns):
            last = over and number == len(incident.turns) - 1
            step = "resolved" if last else "identified" if number else "investigating"
            update = token("update", identifier, int(turn.time), turn.site, turn.down)
            updates.append(_update(update, identifier, step, turned(turn), turn.time))
        return {
            **self._happening(identifier, describe(incident), incident.begin),
            "status": updates[-1]["status"],
            "updated_at": moment(incident.updated),
            "resolved_at": moment(incident.end) if incident.end is not None else None,
            "impact": self._view.impact(len(incident.sites)),
            "incident_updates": updates[::-1],
            "components": self._affected(incident.sites),
        }

    def _announcement(self, one: Announcement) -> dict[str, Any]:
        identifier = announcement_id(self._view, one)
        update = token("update", identifier)
        updates = [_update(update, identifier, "monitoring", one.text, one.begin)]
        over = one.end is not None and not self._view.is_current(one)
        if over and one.end is not None:
            update = token("update", identifier, "end")
            updates.insert(0, _update(update, identifier, "resolved", "", one.end))
        return {
            **self._happening(identifier, one.title, one.begin),
            "status": updates[0]["status"],
            "updated_at": updates[0]["updated_at"],
            "resolved_at": updates[0]["updated_at"] if over else None,
            "impact": "none",
            "incident_updates": updates,
            "components": [],
        }

    def _maintenance(self, one: Maintenance) -> dict[str, Any]:
        identifier = maintenance_id(self._view, one)
        step = "in_progress" if one.begin <= self._view.now else "scheduled"
        body = f"Maintenance of {', '.join(one.sites)}."
        update = token("update", identifier, step)
        others = len(one.sites) - 1
        name = f"Maintenance of {one.sites[0]}" + (f" and {others} more" if others else "")
        return {
            **self._happening(identifier, name, one.begin),
            "status": step,
            "updated_at": moment(one.begin),
            "resolved_at": None,
            "impact": "maintenance",
            "incident_updates": [_update(update, identifier, step, body, one.begin)],
            "components": self._affected(one.sites),
            "scheduled_for": moment(one.begin),
            "scheduled_until": moment(one.end),
        }

    def _happening(self, identifier: str, name: str, begin: Timestamp) -> dict[str, Any]:
        return {
            "id": identifier,
            "name": name,
            "page_id": self._page_id,
            "created_at": moment(begin),
            "started_at": moment(begin),
            "monitoring_at": None,
            "shortlink": f"{self._url}#{identifier}",
        }

    def _affected(self, sites: Sequence[str]) -> list[dict[str, Any]]:
        return [self._by_name[site] for site in sites if site in self._by_name]

    ANSWERS: ClassVar[Mapping[str, Callable[["StatusApi"], dict[str, Any]]]] = {
        "summary": _summary,
        "status": _status,
        "components": _components,
        "incidents": _incidents,
        "incidents/unresolved": _unresolved,
        "scheduled-maintenances": _maintenances,
        "scheduled-maintenances/upcoming": _upcoming,
        "scheduled-maintenances/active": _active,
    }
    """What makes each answer, by its name in the URL."""


NAMES = frozenset(StatusApi.ANSWERS)


def incident_id(view: View, incident: Incident) -> str:
    return token("incident", view.page.path, int(incident.begin))


def announcement_id(view: View, announcement: Announcement) -> str:
    return token("announcement", view.page.path, int(announcement.begin))


def maintenance_id(view: View, maintenance: Maintenance) -> str:
    return token("maintenance", view.page.path, int(maintenance.begin), int(maintenance.end))


def turned(turn: Turn) -> str:
    """Return a sentence about what happened to a site."""
    return f"{turn.site} is down." if turn.down else f"{turn.site} is up again."


def _worst(found: Sequence[Component]) -> str:
    states = {one.state for one in found}
    if states == {Status.DOWN}:
        return _STATES[Status.DOWN]
    if Status.DOWN in states:
        return "partial_outage"
    order = (Status.UNKNOWN, Status.MAINTENANCE, Status.UP)
    return next(_STATES[state] for state in order if state in states)


def _update(
    identifier: str, incident: str, step: str, body: str, time: Timestamp
) -> dict[str, Any]:
    return {
        "id": identifier,
        "incident_id": incident,
        "status": step,
        "body": body,
        "created_at": moment(time),
        "updated_at": moment(time),
        "display_at": moment(time),
        "affected_components": None,
    }
