"""apprise's verdict on URLs, in a process of its own, since it warns when it is imported."""

import json
import subprocess
import sys
from collections.abc import Sequence

_READ = """
import json, sys
from apprise import Apprise
print(json.dumps([url for url in json.load(sys.stdin) if Apprise.instantiate(url) is None]))
"""


def refused(urls: Sequence[str]) -> list[str]:
    """Return the URLs that apprise does not accept."""
    done = subprocess.run(
        [sys.executable, "-c", _READ],
        input=json.dumps(urls), capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found
