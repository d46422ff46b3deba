"""
The least that a check costs in Python threads: libcurl, a slot, a hand-over and two texts.

    python -m tests.bench.floor URL AUTHORITIES RATE

As in the daemon, the main thread hands checks out shortly before their slots, each waits for its
slot in a thread, libcurl makes the transfer as ``tests.bench.bare`` does, and the main thread takes
what is done every 50 ms. It reads no answer, judges nothing, keeps no state, and writes two samples
of some forty. Runs until SIGTERM, and then prints how long the transfers took by libcurl's clock:
p50 and p99 in seconds.
"""

import signal
import sys
import time
from queue import Empty, SimpleQueue
from threading import Thread

import pycurl

from tests.bench.bare import handle
from tests.bench.figures import percentile

_AHEAD = 0.1
_DOZE = 0.05


def main() -> None:
    url, authorities, rate = sys.argv[1:]
    slots: SimpleQueue[float] = SimpleQueue()
    done: SimpleQueue[tuple[float, float, int]] = SimpleQueue()
    for _ in range(max(2, int(float(rate) * _AHEAD))):
        Thread(target=_check, args=(url, authorities, slots, done), daemon=True).start()
    over = False

    def stop(*_: object) -> None:
        nonlocal over
        over = True

    signal.signal(signal.SIGTERM, stop)
    shown: dict[float, tuple[bytes, bytes]] = {}
    took: list[float] = []
    due, interval = time.monotonic(), 1 / float(rate)
    while not over:
        now = time.monotonic()
        while due <= now + _AHEAD:
            slots.put(due)
            due += interval
        took += _show(done, shown)
        time.sleep(_DOZE)
    print(percentile(took, 0.5), percentile(took, 0.99), flush=True)


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
) -> list[float]:
    took = []
    shown.clear()
    try:
        while True:
            slot, seconds, status = done.get_nowait()
            shown[slot] = b"probe_duration_seconds %a" % seconds, b"probe_success %d" % bool(status)
            took.append(seconds)
    except Empty:
        return took


if __name__ == "__main__":
    main()
