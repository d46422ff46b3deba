"""
libcurl alone, by one handle in one thread: what a check costs before anyone looks at the answer.

    python -m tests.bench.bare URL AUTHORITIES RATE

Connections and handshakes are new each time and verified, as the daemon's are. Runs until killed.
"""

import sys
import time

import pycurl


def main() -> None:
    url, authorities, rate = sys.argv[1:]
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
    due = time.monotonic()
    while True:
        curl.perform()
        due += 1 / float(rate)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
