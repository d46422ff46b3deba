"""
libcurl alone, by one handle in each thread: what a check costs before anyone looks at the answer.

    python -m tests.bench.bare URL AUTHORITIES RATE [THREADS]

Connections and handshakes are new each time and verified, as the daemon's are. Runs until killed.
"""

import sys
import time
from threading import Thread

import pycurl


def main() -> None:
    url, authorities, rate, *threads = sys.argv[1:]
    count = int(threads[0]) if threads else 1
    begin, pause = time.monotonic(), 1 / float(rate)
    for number in range(1, count):
        first = begin + number * pause
        Thread(target=_check, args=(url, authorities, first, count * pause), daemon=True).start()
    _check(url, authorities, begin, count * pause)


def handle(url: str, authorities: str) -> pycurl.Curl:
    """Return a handle whose transfers receive the same as the daemon's do."""
    curl = pycurl.Curl()
    for option, value in (
        (pycurl.URL, url),
        (pycurl.CAINFO, authorities),
        (pycurl.NOSIGNAL, 1),
        (pycurl.FRESH_CONNECT, 1),
        (pycurl.FORBID_REUSE, 1),
        (pycurl.SSL_SESSIONID_CACHE, 0),
        (pycurl.OPT_CERTINFO, 1),
        (pycurl.WRITEFUNCTION, len),
    ):
        curl.setopt(option, value)
    return curl


def _check(url: str, authorities: str, due: float, interval: float) -> None:
    curl = handle(url, authorities)
    while True:
        curl.perform()
        due += interval
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
