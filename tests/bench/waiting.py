"""
What a bare handle of libcurl holds while it waits over TLS, each in a thread of its own.

    python -m tests.bench.waiting [--buffer BYTES] [--keep-buffers] [--certificates]

It prints the PSS per handle: the difference between 20 and 320 handles, divided. The server has
shaken hands and sends nothing, and all handles share their authorities, as in the daemon.
"""

import argparse
import ctypes
import os
import sys
import time
from contextlib import suppress
from ctypes import c_int, c_long, c_void_p
from dataclasses import replace
from threading import Thread

import pycurl

from monitor.probes.libcurl.binding import CONTEXTS, Contexts
from monitor.probes.libcurl.options import set_option
from monitor.probes.libcurl.trust import Context, Trusts
from tests.bench.lab import QUICK, Lab
from tests.bench.proc import memory
from tests.bench.size import SilentServer

_FEW, _MANY = 20, 320
_CLEAR_MODE, _RELEASE_BUFFERS = 78, 0x10  # SSL_CTRL_… and SSL_MODE_… of OpenSSL


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--buffer", type=int, default=16 * 1024, help="CURLOPT_BUFFERSIZE")
    arguments.add_argument("--keep-buffers", action="store_true", help="as OpenSSL does by itself")
    arguments.add_argument("--certificates", action="store_true", help="kept as text")
    given = arguments.parse_args()
    if CONTEXTS is None:
        raise SystemExit("libcurl's functions are not found in this pycurl")
    contexts = _keeping(CONTEXTS) if given.keep_buffers else CONTEXTS
    with Lab(QUICK) as lab, SilentServer(lab.new_folder(), lab.ca) as server:
        trust = Trusts(contexts).of(str(lab.roots))
        kept: list[object] = []

        def wait() -> None:
            curl, context = pycurl.Curl(), Context(trust, contexts)
            kept.extend((curl, context))
            for option, value in (
                (pycurl.URL, server.url),
                (pycurl.NOSIGNAL, 1),
                (pycurl.WRITEFUNCTION, len),
                (pycurl.BUFFERSIZE, given.buffer),
                (pycurl.OPT_CERTINFO, given.certificates),
                *context.options(legacy=False),
            ):
                set_option(curl, option, value)
            with suppress(pycurl.error):  # the server ends at last
                curl.perform()

        held = []
        for count in (_FEW, _MANY):
            for _ in range(count - server.connections()):
                Thread(target=wait, daemon=True).start()
            while server.connections() < count:
                time.sleep(0.1)
            time.sleep(QUICK.settle)
            held.append(memory([os.getpid()]))
        each = (held[1].size - held[0].size) / (_MANY - _FEW)
        print(f"{each / 1000:.1f} KB each, {held[1].kind}")
        sys.stdout.flush()
    os._exit(0)  # the threads still wait


def _keeping(contexts: Contexts) -> Contexts:
    """Return the same functions, except that OpenSSL keeps the buffers of a waiting connection."""
    control = ctypes.PYFUNCTYPE(c_long, c_void_p, c_int, c_long, c_void_p)(
        ("SSL_CTX_ctrl", ctypes.PyDLL(pycurl._pycurl.__file__))
    )
    prototype = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)
    grant = prototype(contexts.address)

    def keep(curl: int, context: int, data: int) -> int:
        code: int = grant(curl, context, data)
        control(context, _CLEAR_MODE, _RELEASE_BUFFERS, None)
        return code

    function = prototype(keep)
    return replace(
        contexts, address=ctypes.cast(function, c_void_p).value or 0, function=(function, contexts)
    )


if __name__ == "__main__":
    main()
