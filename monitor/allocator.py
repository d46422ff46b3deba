"""
Has the C library keep fewer freed pieces of memory for each thread.

glibc keeps up to 24 KB of freed pieces for each thread (tcache), and the threads of a daemon whose
sites hang are hundreds. Only the environment can say otherwise, before a process starts. So the
daemon starts once more in its first milliseconds, as the same process.
"""

import os
import sys
from collections.abc import Callable, Mapping

VARIABLE = "GLIBC_TUNABLES"
VALUE = "glibc.malloc.tcache_max=64"


def start_again(
    environ: Mapping[str, str] = os.environ,
    execve: Callable[[str, list[str], Mapping[str, str]], None] = os.execve,
) -> None:
    """
    Replace this program by itself, with the allocator set up.

    Returns where that is done or has no use: the variable is set, whoever set it; the C library is
    not glibc; or the system refuses.
    """
    if VARIABLE in environ or not sys.executable or not _is_glibc():
        return
    try:
        execve(sys.executable, sys.orig_argv, {**environ, VARIABLE: VALUE})
    except OSError:
        return  # it runs with more memory


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except ValueError:  # another library does not know the name
        return False
