"""What the watcher notices in real files and folders, and what it does not."""

import os
import threading
import time
from pathlib import Path

import pytest

from monitor.config.watch import Watcher

SOON = 30.0
"""What is noticed at all is noticed within a second; this is for slow machines."""
A_WHILE = 0.6
"""More than three times what the watcher needs to notice; for what it must not notice."""


class Calls:
    """Counts the callbacks of a watcher."""

    def __init__(self) -> None:
        self._called = threading.Semaphore(0)

    def __call__(self) -> None:
        self._called.release()

    def come(self) -> bool:
        """Wait for the next call."""
        return self._called.acquire(timeout=SOON)

    def stay_away(self) -> bool:
        """Return whether no call comes for a while."""
        return not self._called.acquire(timeout=A_WHILE)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def watcher(calls):
    # A test writes at once, perhaps before the folders are watched
    watcher = Watcher(calls, poll=0.1)
    yield watcher
    watcher.stop()


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    path = tmp_path / "sites.yaml"
    path.write_text("one")
    return path


def test_an_edit_in_place_is_noticed(watcher, calls, sites):
    """Each edit causes exactly one call."""
    watcher.start([sites])
    for text in ("two", "three"):
        sites.write_text(text)
        assert calls.come()
    assert calls.stay_away()


@pytest.mark.parametrize("old", [True, False], ids=["settled", "just written"])
def test_a_file_that_keeps_size_and_time_is_read_again(watcher, calls, sites, old):
    """A write that keeps size and mtime is noticed, as by cp --preserve, rsync --inplace or tar."""
    if old:
        # After this the watcher trusts the stamp and looks at nothing else
        time.sleep(2.5)
    before = sites.stat()
    watcher.start([sites])
    for text in ("two", "six"):
        with sites.open("r+") as file:
            file.write(text)
            file.flush()
            os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
        assert sites.stat().st_mtime_ns == before.st_mtime_ns
        assert calls.come()
    assert calls.stay_away()


def test_the_system_tells_of_changes(calls, sites):
    """Once the folder is watched, a change is noticed without any polling."""
    watcher = Watcher(calls, poll=3600)
    watcher.start([sites])
    try:
        noticed = False
        for attempt in range(int(SOON / A_WHILE)):
            sites.write_text(f"attempt {attempt}")
            if noticed := not calls.stay_away():
                break
    finally:
        watcher.stop()
    assert noticed


def test_an_atomic_rename_is_noticed(watcher, calls, sites):
    """The file that replaces the old one is watched too."""
    watcher.start([sites])
    for text in ("two", "three"):
        new = sites.with_suffix(".tmp")
        new.write_text(text)
        new.rename(sites)
        assert calls.come()


def test_a_swapped_configmap_is_noticed(watcher, calls, tmp_path):
    """Kubernetes replaces only the link ``..data``; neither the file nor its folder changes."""
    for version, text in (("..v1", "one"), ("..v2", "two"), ("..v3", "three")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "sites.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "sites.yaml").symlink_to("..data/sites.yaml")
    watcher.start([tmp_path / "sites.yaml"])
    for version in ("..v2", "..v3"):
        (tmp_path / "..data_tmp").symlink_to(version)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        assert calls.come()
    assert calls.stay_away()


def test_a_link_to_a_file_elsewhere_is_followed(watcher, calls, tmp_path, sites):
    """An edit of the file behind the link is noticed."""
    link = tmp_path / "etc" / "sites.yaml"
    link.parent.mkdir()
    link.symlink_to(sites)
    watcher.start([link])
    sites.write_text("two")
    assert calls.come()


def test_a_folder_tells_of_new_and_lost_yaml_files(watcher, calls, sites):
    """Its other files and its hidden files cause no call."""
    watcher.start([sites.parent])
    (sites.parent / "notes.txt").write_text("x")
    (sites.parent / ".sites.yaml.swp").write_text("x")
    (sites.parent / ".hidden.yaml").write_text("x")
    assert calls.stay_away()
    (sites.parent / "more.yaml").write_text("x")
    assert calls.come()
    (sites.parent / "more.yaml").unlink()
    assert calls.come()


def test_neighbours_and_touching_change_nothing(watcher, calls, sites):
    """Only the watched file's content counts, not its time of writing."""
    watcher.start([sites])
    (sites.parent / "other.yaml").write_text("x")
    sites.touch()
    sites.write_text("one")
    assert calls.stay_away()


def test_a_file_that_does_not_exist_yet_is_noticed_when_it_comes(watcher, calls, tmp_path):
    """Its folder need not exist yet, and its removal is noticed too."""
    path = tmp_path / "a" / "b" / "token"
    watcher.start([path])
    path.parent.mkdir(parents=True)
    path.write_text("x")
    assert calls.come()
    path.unlink()
    assert calls.come()


def test_a_replaced_folder_is_watched_again(watcher, calls, tmp_path):
    """A folder is watched again after it is moved away and another takes its name."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "sites.yaml").write_text("one")
    watcher.start([folder / "sites.yaml"])
    folder.rename(tmp_path / "old")
    folder.mkdir()
    (folder / "sites.yaml").write_text("two")
    assert calls.come()


def test_a_burst_is_hardly_more_than_one_change(watcher, calls, sites):
    """50 writes in a row cause one call after the last, and at most one before it."""
    watcher.start([sites])
    for number in range(50):
        sites.write_text(f"text {number}")
    assert calls.come()
    assert calls.stay_away() or calls.stay_away()


def test_other_files_can_be_watched_from_now_on(watcher, calls, tmp_path, sites):
    """After an update the new files are watched, and the old ones no longer."""
    other = tmp_path / "other" / "b.yaml"
    other.parent.mkdir()
    other.write_text("one")
    watcher.start([sites])
    watcher.update([other])
    sites.write_text("two")
    assert calls.stay_away()
    other.write_text("two")
    assert calls.come()


def test_a_change_before_an_update_is_not_lost(watcher, calls, sites):
    """A file that stays watched is compared with its content before the update."""
    watcher.start([sites])
    sites.write_text("two")
    watcher.update([sites])
    assert calls.come()


def test_what_is_no_file_does_no_harm(watcher, calls, tmp_path, sites):
    """Beside looping links and a pipe, the site list is still watched."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "deeper").symlink_to("deeper/still")
    os.mkfifo(tmp_path / "pipe")
    watcher.start([tmp_path / name for name in ("loop", "deeper/x", "pipe")] + [sites])
    sites.write_text("two")
    assert calls.come()


def test_stopping_ends_the_thread(calls, sites):
    """The thread ends at once, and stop() also works without a start."""
    before = set(threading.enumerate())  # threads of other tests may still be ending
    watcher = Watcher(calls)
    watcher.stop()
    watcher = Watcher(calls)
    watcher.start([sites])
    watcher.stop()
    assert set(threading.enumerate()) <= before
    sites.write_text("two")
    assert calls.stay_away()


def test_stopping_is_never_overlooked(calls, sites):
    """A stop counts even at the moment when the thread takes over other files."""
    watcher = Watcher(calls, poll=3600)
    stopper = threading.Thread(target=watcher.stop)

    class StoppedMeanwhile(threading.Event):
        """Stops the watcher just before the thread's first clear()."""

        def clear(self) -> None:
            super().clear()
            if stopper.ident is None:
                stopper.start()
                self.wait()
            super().clear()

    watcher._interrupted = StoppedMeanwhile()
    before = set(threading.enumerate())  # threads of other tests may still be ending
    watcher.start([sites])
    watcher._thread.join(SOON)
    stopped = not watcher._thread.is_alive()
    watcher._interrupted.set()
    stopper.join()
    assert stopped
    assert set(threading.enumerate()) <= before


def test_without_inotify_files_are_polled(calls, sites, caplog):
    """One warning is logged, and changes are still noticed."""

    def no_inotify(*_folders, **_settings):
        raise OSError(24, "inotify instance limit reached")
        yield

    watcher = Watcher(calls, watch=no_inotify, poll=0.05)
    watcher.start([sites])
    try:
        for text in ("two", "three"):
            sites.write_text(text)
            assert calls.come()
        watcher.update([sites])
        sites.write_text("four")
        assert calls.come()
    finally:
        watcher.stop()
    assert [record.getMessage() for record in caplog.records] == ["watch_by_polling"]
