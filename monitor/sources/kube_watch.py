"""
One kind of object of a Kubernetes API server, listed and then watched, in its own thread.

The rules are those of Kubernetes' API concepts: a list comes in chunks and has a resource version,
and a watch continues from there; 410 Gone means to list again.
"""

import json
import logging
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any, TypeAlias

import requests
from requests import Response, Session

from monitor.clock import Clock
from monitor.sources.fetch import why
from monitor.sources.kube_config import ApiServer
from monitor.sources.ports import UnreadableError
from monitor.units import Bytes, Seconds

_log = logging.getLogger(__name__)

_CHUNK = 500
"""Objects per chunk of a list, the same number as in kubectl."""
_CONNECT: Seconds = 10.0
_READ: Seconds = 30.0
_WATCH = (240, 300)
"""Seconds after which the server ends a watch; random, so that not all end at once."""
_FIRST_PAUSE: Seconds = 1.0
_LONGEST_PAUSE: Seconds = 30.0
_REFUSED_PAUSE: Seconds = 60.0
_LARGEST_LINE: Bytes = 16 * 1024**2
_LARGEST_PAGE: Bytes = 256 * 1024**2
_MOST_OBJECTS = 200_000
_STEP: Bytes = 64 * 1024
_OK, _GONE = 200, 410
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Key: TypeAlias = tuple[str, str]
"""Namespace (empty if there is none) and name."""
Object: TypeAlias = Mapping[str, Any]


class _GoneError(Exception):
    """The server no longer knows that version."""


class _RefusedError(UnreadableError):
    """Asking again soon is useless."""


@dataclass(frozen=True, slots=True)
class Resource:
    """
    A kind of object.

    Attributes:
        plural: As in its path.
        versions: Groups and versions in which it may be served, the best one first.
        namespace: Where to look for it; None for everywhere.
    """

    plural: str
    versions: tuple[str, ...]
    namespace: str | None = None

    @property
    def shown(self) -> str:
        return f"{self.plural} in {self.namespace}" if self.namespace else self.plural

    def path(self, version: str) -> str:
        """Return the path of its list."""
        inside = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"/apis/{version}{inside}/{self.plural}"


@dataclass(frozen=True, slots=True)
class State:
    """
    What is currently known about the objects.

    Attributes:
        objects: None before the first list.
        error: Why they may be out of date.
    """

    objects: Mapping[Key, Object] | None = None
    error: str | None = None

    @property
    def settled(self) -> bool:
        return self.objects is not None or self.error is not None


class KubeWatch:
    """
    Keeps the objects of one kind up to date.

    Args:
        on_change: Called in the watch's thread after each change, also of the error.
        pause: How long to wait before the first new attempt; each further pause is twice as long.
    """

    def __init__(
        self,
        resource: Resource,
        access: ApiServer,
        on_change: Callable[[], None],
        *,
        selector: str | None,
        clock: Clock,
        pause: Seconds = _FIRST_PAUSE,
    ) -> None:
        self.resource = resource
        self._access = access
        self._on_change = on_change
        self._selector = selector
        self._clock = clock
        self._first_pause = pause
        self._over = Event()
        # Guards what follows; the thread writes it, the source reads it
        self._lock = Lock()
        self._objects: dict[Key, Object] | None = None
        self._error: str | None = None
        # The thread's own
        self._path = ""
        self._session = Session()
        self._session.trust_env = False
        if access.verify is False:  # the kubeconfig says so; urllib3 would warn at each request
            warnings.filterwarnings("ignore", "Unverified HTTPS request")
        self._thread = Thread(target=self._run, name=f"watch-{resource.plural}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the watch; a silent connection ends with its own timeout."""
        self._over.set()

    def state(self) -> State:
        with self._lock:
            objects = None if self._objects is None else dict(self._objects)
            return State(objects, self._error)

    # -- in the thread

    def _run(self) -> None:
        version: str | None = None
        pause = self._first_pause
        while not self._over.is_set():
            began = self._clock.monotonic()
            try:
                if version is None:
                    version = self._list()
                for seen in self._events(version):
                    version = seen
                    if self._over.is_set():
                        break
                # A watch that keeps ending at once must not cause a flood of requests
                if self._clock.monotonic() - began < self._first_pause:
                    self._over.wait(self._first_pause)
                pause = self._first_pause
            except _GoneError:
                version = None
                self._over.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except _RefusedError as error:
                version = None
                self._fail(str(error))
                self._over.wait(_REFUSED_PAUSE)
            except UnreadableError as error:
                self._fail(str(error))
                self._over.wait(pause * random.uniform(0.5, 1))  # noqa: S311  no secret
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception:
                _log.exception("discovery_fault")
                version = None
                self._fail(f"{self.resource.shown}: internal error; see the log")
                self._over.wait(_LONGEST_PAUSE)
        self._session.close()

    def _fail(self, error: str) -> None:
        with self._lock:
            changed, self._error = self._error != error, error
        if changed:
            self._on_change()

    def _works(self) -> None:
        with self._lock:
            changed, self._error = self._error is not None, None
        if changed:
            self._on_change()

    def _list(self) -> str | None:
        """Load all current objects; None if the server does not have this kind."""
        for version in self.resource.versions:
            self._path = self.resource.path(version)
            with suppress(LookupError):
                objects, at = self._pages()
                self._replace(objects)
                return at
        self._replace({})
        self._over.wait(_REFUSED_PAUSE)  # until somebody installs it
        return None

    def _replace(self, objects: dict[Key, Object]) -> None:
        with self._lock:
            self._objects, self._error = objects, None
        self._on_change()

    def _pages(self) -> tuple[dict[Key, Object], str]:
        """
        Return all objects, and the version of that list.

        Raises:
            LookupError: The server does not have this kind.
        """
        objects: dict[Key, Object] = {}
        following = ""
        while True:
            query = {"limit": str(_CHUNK), **({"continue": following} if following else {})}
            with self._get(query, _READ) as answer:
                page = self._json(b"".join(self._pieces(answer, _LARGEST_PAGE)))
            for item in page.get("items") or ():
                objects[_key(item)] = _slim(item)
            if len(objects) > _MOST_OBJECTS:
                raise UnreadableError(f"{self.resource.shown}: more than {_MOST_OBJECTS} objects")
            meta = page.get("metadata") or {}
            following = meta.get("continue") or ""
            if not following:
                return objects, str(meta.get("resourceVersion") or "")

    def _events(self, version: str | None) -> Iterator[str]:
        """Process events one by one, and yield the version after each."""
        if version is None:
            return
        seconds = random.randint(*_WATCH)  # noqa: S311  no secret
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        try:
            answer = self._get(query, seconds + _READ)
        except LookupError:
            raise _GoneError from None
        with answer:
            self._works()
            for line in self._lines(answer):
                yield self._take(self._json(line))

    def _take(self, event: Mapping[str, Any]) -> str:
        kind, item = event.get("type"), event.get("object")
        if not isinstance(item, dict):
            raise UnreadableError(f"{self.resource.shown}: the API server sends no object")
        if kind == "ERROR":
            if item.get("code") == _GONE:
                raise _GoneError
            told = item.get("reason") or item.get("code")
            raise UnreadableError(f"{self.resource.shown}: the API server ends the watch: {told}")
        if kind != "BOOKMARK":
            with self._lock:
                objects = {} if self._objects is None else self._objects
                if kind == "DELETED":
                    objects.pop(_key(item), None)
                else:
                    objects[_key(item)] = _slim(item)
                self._objects = objects
            self._on_change()
        return str((item.get("metadata") or {}).get("resourceVersion") or "")

    # -- requests

    def _get(self, query: Mapping[str, str], timeout: Seconds) -> Response:
        """
        Return an answer with a good status.

        Raises:
            LookupError: The server does not know the path.
        """
        headers = {
            "Accept": "application/json",
            # Servers compress lists above 128 KiB if a client allows it, as requests does
            "Accept-Encoding": "identity",
            "User-Agent": "website-monitor",
        }
        if token := self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        if self._selector:
            query = {**query, "labelSelector": self._selector}
        try:
            answer = self._session.get(
                f"{self._access.server}{self._path}",
                params=query,
                headers=headers,
                timeout=(_CONNECT, timeout),
                stream=True,
                verify=self._access.verify,
                cert=self._access.certificate,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise UnreadableError(
                f"{self.resource.shown}: {self._access.server} cannot be reached: {why(error)}"
            ) from None
        except OSError as error:  # a file of authorities or of our certificate
            raise UnreadableError(f"{self.resource.shown}: {error}") from None
        if answer.status_code == _OK:
            if answer.headers.get("Content-Encoding", "identity") == "identity":
                return answer
            answer.close()
            raise UnreadableError(
                f"{self.resource.shown}: {self._access.server} packs its answer, which was not"
                " asked for"
            )
        answer.close()
        match answer.status_code:
            case 404:
                raise LookupError(self._path)
            case 410:
                raise _GoneError
            case 401:
                raise _RefusedError(
                    f"{self.resource.shown}: the API server does not know us (status 401)"
                )
            case 403:
                raise _RefusedError(
                    f"{self.resource.shown}: the API server refuses to list and watch them "
                    "(status 403); a Role must allow the verbs list and watch"
                )
            case status:
                raise UnreadableError(
                    f"{self.resource.shown}: the API server answers with status {status}"
                )

    def _pieces(self, answer: Response, largest: Bytes) -> Iterator[bytes]:
        size = 0
        while True:
            try:
                piece: bytes = answer.raw.read1(_STEP)
            except Exception as error:  # urllib3's own
                raise UnreadableError(
                    f"{self.resource.shown}: the connection broke off: {type(error).__name__}"
                ) from None
            if not piece:
                return
            size += len(piece)
            if size > largest > 0:
                raise UnreadableError(
                    f"{self.resource.shown}: an answer is larger than {largest // 1024**2}MiB"
                )
            yield piece

    def _lines(self, answer: Response) -> Iterator[bytes]:
        """Yield each line; an incomplete last line is skipped, and comes again."""
        rest = b""
        for piece in self._pieces(answer, 0):
            *lines, rest = (rest + piece).split(b"\n")
            yield from filter(None, lines)
            if len(rest) > _LARGEST_LINE:
                raise UnreadableError(f"{self.resource.shown}: an event is too large")

    def _json(self, text: bytes) -> Mapping[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise UnreadableError(f"{self.resource.shown}: the API server does not answer in JSON")
        return value


def _key(item: Mapping[str, Any]) -> Key:
    meta = item.get("metadata") or {}
    return str(meta.get("namespace") or ""), str(meta.get("name") or "")


def _slim(item: Mapping[str, Any]) -> Object:
    """Return the object without its large parts that are not used here."""
    meta = dict(item.get("metadata") or {})
    annotations = dict(meta.get("annotations") or {})
    annotations.pop(_LAST_APPLIED, None)
    meta.pop("managedFields", None)
    return {
        "metadata": {**meta, "annotations": annotations},
        "spec": item.get("spec") or {},
        "status": item.get("status") or {},
    }
