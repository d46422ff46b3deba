"""The container image, built and run."""

import os

import pytest

from tests.container.__main__ import UnavailableError, main


@pytest.mark.skipif(
    os.environ.get("MONITOR_CONTAINER") != "1",
    reason="builds an image for minutes; MONITOR_CONTAINER=1 runs it, as python -m tests.container",
)
def test_the_image():
    """The image is built, and checks 100 sites read-only, without capabilities, in 128 MiB."""
    try:
        assert main(["--minutes", "0.5"]) == []
    except UnavailableError as reason:
        pytest.skip(str(reason))
