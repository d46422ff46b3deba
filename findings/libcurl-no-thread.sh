#!/usr/bin/env bash
# libcurl's look-up of a name where no thread can be started.
#
# Expected: an error that says so, as the transfer cannot be made.
# What happens: nothing is told, also not to a verbose caller; the transfer waits for a look-up that
#   never began, and ends in the timeout with "Resolving timed out".
# Why a monitor cares: the limit of its own container or unit (pids, tasks) looks like name servers
#   that are silent, for every site with a name. Try to start a thread before that is believed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pycurl==7.49.0
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import os, resource, threading
import pycurl

told = []
curl = pycurl.Curl()
curl.setopt(pycurl.URL, "http://name.invalid/")
curl.setopt(pycurl.TIMEOUT_MS, 1000)
curl.setopt(pycurl.NOSIGNAL, 1)
curl.setopt(pycurl.VERBOSE, 1)
curl.setopt(pycurl.DEBUGFUNCTION, lambda kind, text: told.append(text))
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
if os.geteuid() == 0:
    os.setuid(65534)  # root is not limited
try:
    threading.Thread(target=print).start()
except RuntimeError as error:
    print("Python says:", error)
try:
    curl.perform()
except pycurl.error as error:
    print(pycurl.version_info()[1], "says:", error.args[0], error.args[1].rpartition(" after ")[0])
print("and tells a word of threads:", any(b"thread" in text for text in told))
PYTHON
diff "$folder/seen" - <<'TEXT'
Python says: can't start new thread
8.23.0 says: 28 Resolving timed out
and tells a word of threads: False
TEXT
