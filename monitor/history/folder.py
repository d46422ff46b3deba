"""The data folder, which only one daemon uses at a time."""

import fcntl
import os
from pathlib import Path

from monitor.errors import HistoryError, StartupError

_LOCK = "lock"


def is_at(path: Path, known: os.stat_result) -> bool:
    """Return whether an open file is still the one at its path, as far as we can see."""
    try:
        return os.path.samestat(path.stat(), known)
    except FileNotFoundError:
        return False
    except OSError:  # somebody removed our rights, which says nothing about the file
        return True


class DataFolder:
    """
    A folder that is ours while its lock is held; the lock ends with the process, however that ends.

    Attributes:
        path: The folder; it need not exist yet.
    """

    def __init__(self, path: Path, owner: str) -> None:
        self.path = path
        self._owner = owner
        self._lock: int | None = None

    def claim(self) -> None:
        """
        Create the folder if it is missing, and lock it; does nothing if it is already ours.

        A folder that was removed in the meantime is created again.

        Raises:
            StartupError: Another daemon uses it.
            HistoryError: It cannot be created or written to.
        """
        if self._lock is not None:
            if is_at(self.path / _LOCK, os.fstat(self._lock)):
                return
            self.release()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HistoryError(
                f"the data folder {self.path} cannot be used: {error.strerror}"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with os.fdopen(lock, encoding="utf-8", errors="replace") as file:
                who = file.read().strip() or "another process"
            raise StartupError(
                f"the data folder {self.path} is in use by {who}; give each daemon one of its own "
                "by --data DIR"
            ) from None
        except OSError as error:
            os.close(lock)
            raise HistoryError(
                f"the data folder {self.path} cannot be locked: {error.strerror}"
            ) from error
        self._lock = lock
        try:
            os.truncate(lock, 0)
            os.pwrite(lock, f"{self._owner}\n".encode(), 0)
        except OSError:
            pass  # a full disk does not matter: the lock counts, and it is ours

    def release(self) -> None:
        """Let another daemon use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
