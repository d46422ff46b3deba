"""Reads files of limited size; every failure is one clear sentence."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from monitor.units import Bytes

LARGEST: Bytes = 64 * 1024**2
"""The largest file that is read: 300,000 sites of 200 bytes each."""
_LARGEST_TEXT: Bytes = 1024**2
_MIB: Bytes = 1024**2


def check_readable(path: Path) -> None:
    """
    Return if the path leads to a regular file that may be read.

    Raises:
        ValueError: It does not; the message is a sentence for the user.
    """
    _open(path).close()


def read_bytes(path: Path, largest: Bytes = LARGEST) -> bytes:
    """
    Return the content of a regular file.

    Raises:
        ValueError: There is no such file, it cannot be read, or it is larger than allowed.
    """
    with _open(path) as file:
        try:
            content = file.read(largest + 1)
        except OSError as error:
            raise ValueError(_why(path, error)) from error
    if len(content) > largest:
        raise ValueError(f"{path} is larger than {largest // _MIB}MiB")
    return content


def read_text(path: Path) -> str:
    """
    Return the text of a small file such as a token, without what editors add.

    Editors may add a byte order mark before it, and line ends after it.

    Raises:
        ValueError: As in read_bytes, or it is not UTF-8.
    """
    try:
        text = read_bytes(path, _LARGEST_TEXT).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8") from error
    return text.rstrip("\r\n")


def list_folder(path: Path) -> list[Path]:
    """
    Return the YAML files of a folder, sorted by name.

    Raises:
        ValueError: The folder cannot be read.
    """
    try:
        found = sorted(path.iterdir())
    except OSError as error:
        raise ValueError(_why(path, error)) from error
    return [file for file in found if is_yaml_name(file.name) and is_file(file)]


def check_folder(path: Path) -> None:
    """
    Return if the folder can be listed or does not exist.

    Raises:
        ValueError: It cannot be read; the message is a sentence for the user.
    """
    try:
        os.scandir(path).close()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise ValueError(_why(path, error)) from error


def is_folder(path: Path) -> bool:
    """Return whether the folder exists; False if the system does not say: reading will show."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Return whether the file exists; True if the system does not say: reading will show."""
    try:
        return path.is_file()
    except OSError:
        return True


def is_yaml_name(name: str) -> bool:
    """Return whether a folder's file of this name is read; hidden files are not."""
    return name.endswith((".yaml", ".yml")) and not name.startswith(".")


def _open(path: Path) -> BinaryIO:
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would never return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ValueError(_why(path, error)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise ValueError(f"{path} is {kind}, not a file")
    return os.fdopen(descriptor, "rb")


def _why(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"there is no file {path}"
    if isinstance(error, OSError) and error.strerror:
        return f"{path} cannot be read: {error.strerror.lower()}"
    return f"{str(path)!r} is not a path"
