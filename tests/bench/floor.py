"""
The least that a check costs in Python threads: libcurl, a slot, a hand-over and two texts.

    python -m tests.bench.floor URL AUTHORITIES RATE

As in the daemon, the main thread hands checks out shortly before their slots, each waits for its
slot in a thread, libcurl makes the transfer as ``tests.bench.bare`` does, and the main thread takes
what is done every 50 ms. It reads no answer, judges nothing, keeps no state, and writes two samples
of some forty. Runs until killed.
"""

import sys
import time
from queue import Empty, SimpleQueue
from threading import Thread

import pycurl

from tests.bench.bare import handle

_AHEAD = 0.1
_DOZE = 0.05


def main() -> None:
    url, authorities, rate = sys.argv[1:]
    slots: SimpleQueue[float] = SimpleQueue()
    done: SimpleQueue[tuple[float, float, int]] = SimpleQueue()
    for _ in range(max(2, int(float(rate) * _AHEAD))):
        Thread(target=_check, args=(url, authorities, slots, done), daemon=True).start()
    shown: dict[float, tuple[bytes, bytes]] = {}
    due, interval = time.monotonic(), 1 / float(rate)
    while True:
        now = time.monotonic()
        while due <= now + _AHEAD:
            slots.put(due)
            due += interval
        _show(done, shown)
        time.sleep(_DOZE)


def _check(
    url: str,
    authorities: str,
    slots: "SimpleQueue[float]",
    done: "SimpleQueue[tuple[float, float, int]]",
) -> None:
    curl = handle(url, authorities)
    while True:
        slot = slots.get()
        time.sleep(max(0.0, slot - time.monotonic()))
        curl.perform()
        done.put((slot, curl.getinfo(pycurl.TOTAL_TIME), curl.getinfo(pycurl.RESPONSE_CODE)))


def _show(
    done: "SimpleQueue[tuple[float, float, int]]", shown: dict[float, tuple[bytes, bytes]]
) -> None:
    shown.clear()
    try:
        while True:
            slot, seconds, status = done.get_nowait()
            shown[slot] = b"probe_duration_seconds %a" % seconds, b"probe_success %d" % bool(status)
    except Empty:
        pass


if __name__ == "__main__":
    main()
