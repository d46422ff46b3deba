"""
The authorities that certificates are verified against: loaded once, and trusted by all handles.

libcurl loads them for each handle separately, which takes 5 ms and 1.2 MB. Instead, OpenSSL loads a
file once, and a Python function adds its certificates to the TLS contexts of all handles.

For a handle that calls Python anyway, libcurl calls the function for each connection, and the
contexts use the one store that all share. For a silent handle it calls the function only for the
first connection: the certificates are added to that context's own store, which libcurl keeps with
the handle (CURLOPT_CA_CACHE_TIMEOUT), so later connections do not need the function once the handle
has kept them.

The function also makes OpenSSL release the buffers of an idle connection.

libcurl itself gets a file with only one of the authorities: without any file it could fall back to
those that OpenSSL was built with, or that the environment names.
"""

import ctypes
import os
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pycurl

from monitor.errors import ProbeError
from monitor.probes.libcurl.binding import CONTEXTS, Contexts, Wish
from monitor.probes.libcurl.certificates import Stamp, stamp_of
from monitor.probes.libcurl.options import (
    CA_CACHE_TIMEOUT,
    SSL_CONTEXT_DATA,
    SSL_CONTEXT_FUNCTION,
    Options,
)

_MOST = 64
"""How many files are remembered; beyond that, the file that was loaded first is forgotten."""


class Trust:
    """
    The authorities of one file, as it was at one time; shared by all threads, and never changed.

    Attributes:
        path: The path of the file.
        options: Options that make libcurl load it, or as little of it as possible.
        store: Address of the store with all of them; None if libcurl loads the file.
    """

    store: int | None = None
    _one: int | None = None

    def __init__(self, path: str, stamp: Stamp, contexts: Contexts | None) -> None:
        """
        Read the file.

        Raises:
            ProbeError: It cannot be read, or there is no memory for it.
        """
        self.path = path
        self.stamp = stamp
        self._contexts = contexts
        read = self._share(contexts) if contexts else None
        file = os.fsencode(read or path)
        self.options = (
            (pycurl.CAINFO, file),
            (pycurl.PROXY_CAINFO, file),
            # Not the directory that libcurl was built with
            (pycurl.CAPATH, None),
            (pycurl.PROXY_CAPATH, None),
            (CA_CACHE_TIMEOUT, -1),  # the file's stamp says when to load it again
        )

    def _share(self, contexts: Contexts) -> str | None:
        """Load the authorities, and return a file with one of them; None if there cannot be one."""
        store = self.store = contexts.new()
        if not store:
            raise ProbeError("OpenSSL lacks memory for the authorities")
        if not contexts.load(store, os.fsencode(self.path)):
            contexts.clear_errors()
            raise ProbeError(
                f"cannot read the authorities in {self.path}: it is not a valid PEM file"
            )
        one = contexts.first(store)
        if one:
            with suppress(OSError):
                self._one = os.memfd_create("authority")
                os.write(self._one, ssl.DER_cert_to_PEM_cert(one).encode())
                place = f"/proc/self/fd/{self._one}"
                if Path(place).exists():
                    return place
        self._free()
        return None

    def _free(self) -> None:
        if self._contexts and self.store:
            self._contexts.free(self.store)
            self.store = None
        if self._one is not None:
            os.close(self._one)
            self._one = None

    __del__ = _free


class Trusts:
    """
    The authorities of the files that checks name; used by many threads at once.

    The mutable state is the table of files, guarded by ``_lock``.
    """

    def __init__(self, contexts: Contexts | None = CONTEXTS) -> None:
        """
        Begin with no file.

        Args:
            contexts: The functions that share authorities; without it libcurl reads each file.
        """
        self._contexts = contexts
        self._lock = threading.Lock()
        self._files: dict[str, Trust] = {}

    def of(self, path: str) -> Trust:
        """
        Return the authorities that a file holds now.

        Raises:
            ProbeError: The file cannot be read.
        """
        stamp = stamp_of(path)
        known = self._files.get(path)
        if known is not None and known.stamp == stamp:
            return known
        with self._lock:  # otherwise many threads would load it separately
            known = self._files.get(path)
            if known is None or known.stamp != stamp:
                known = Trust(path, stamp, self._contexts)
                self._files.pop(path, None)
                self._files[path] = known
                if len(self._files) > _MOST:
                    del self._files[next(iter(self._files))]
            return known

    def forget(self) -> None:
        """Release the authorities that no handle uses."""
        with self._lock:
            self._files.clear()


class Context:
    """
    What the TLS contexts of one handle get; belongs to the thread that has the handle.

    Attributes:
        trust: The authorities; None if no certificate is verified.
    """

    def __init__(self, trust: Trust | None, contexts: Contexts | None = CONTEXTS) -> None:
        self.trust = trust
        self._contexts = contexts
        self._wish = Wish(trust.store if trust else None)
        self._granted: Options = ()
        if contexts is not None:
            self._granted = (
                (SSL_CONTEXT_FUNCTION, contexts.address),
                (SSL_CONTEXT_DATA, ctypes.addressof(self._wish)),
            )
        self._trusted: Options = trust.options if trust else ()
        self._all = (*self._trusted, *self._granted)

    def again(self) -> "Context":
        """Return an equal context for another handle."""
        return Context(self.trust, self._contexts)

    def options(self, *, legacy: bool, silent: bool = False) -> Options:
        """
        Return the options to set on the handle for its next connection.

        Args:
            legacy: As in TlsOptions.
            silent: Whether Python runs in the handshake only if nothing else will do.

        Raises:
            ProbeError: ``tls.legacy`` is not possible with this pycurl.
        """
        if legacy and not self._granted:
            raise ProbeError("tls.legacy is not possible with this version of pycurl")
        wish = self._wish
        wish.legacy, wish.lasting = legacy, silent
        if silent and not legacy and (wish.kept or not wish.authorities):
            return self._trusted
        return self._all
