"""
Makes the C library keep fewer freed pieces of memory for each thread.

glibc keeps up to 24 KB of freed pieces for each thread (tcache), and a daemon whose sites hang has
hundreds of threads. It also splits memory into up to eight arenas per core, and other threads
cannot use what the threads of one arena have freed. Only the environment can change this, before a
process starts. So the daemon starts again in its first milliseconds, as the same process.
"""

import os
import sys
from collections.abc import Callable, Mapping

VARIABLE = "GLIBC_TUNABLES"
VALUE = "glibc.malloc.tcache_max=64:glibc.malloc.arena_max=1"


def start_again(
    environ: Mapping[str, str] = os.environ,
    execve: Callable[[str, list[str], Mapping[str, str]], None] = os.execve,
) -> None:
    """
    Replace this program by itself, with the allocator set up.

    Returns if that is already done or has no effect: the variable is set, by us or by somebody
    else; the C library is not glibc; or the system refuses.
    """
    if VARIABLE in environ or not sys.executable or not _is_glibc():
        return
    try:
        execve(sys.executable, sys.orig_argv, {**environ, VARIABLE: VALUE})
    except OSError:
        return  # the daemon then runs with more memory


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except ValueError:  # another library does not know the name
        return False
