#!/usr/bin/env bash
# What lightkube's watch does with an API server that has gone silent, and with one that says 410.
#
# Expected: a client that was given a timeout of two seconds ends a watch, or reports it to
#   on_error, when the server sends nothing for longer, as its lists do. After 410 Gone the objects
#   are listed again, and those that are gone by then are told as deleted, as client-go's informers
#   tell them.
# What happens: a watch has no read timeout, whatever the client was given: where a firewall drops
#   the connection without a word, it waits for ever. After 410 it watches again without a version:
#   what exists is told as added once more, and what was deleted meanwhile is never told.
# Why a monitor cares: sites that are discovered by such a watch would come and go no more, without
#   an error, or stay for ever after they were deleted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lightkube==1.0.1 lightkube-models==1.37.0.8 httpx2==2.16.2
cat >"$folder/watch.py" <<'PYTHON'
import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

import httpx2 as httpx
from lightkube import Client, KubeConfig
from lightkube.types import OnErrorAction, OnErrorResult
from lightkube.config.models import Cluster, User
from lightkube.resources.networking_v1 import Ingress

over = threading.Event()


def ingress(name, version):
    meta = {"name": name, "namespace": "s", "resourceVersion": version}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta}


class Api(http.server.BaseHTTPRequestHandler):
    silent = False

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.silent or "resourceVersion" not in query and "watch" not in query:
            self.wfile.flush()
            over.wait(30)
            return
        events = [{"type": "ADDED", "object": ingress("kept", "9")}]
        if "resourceVersion" in query:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            events = [{"type": "ERROR", "object": gone}]
        for event in events:
            self.wfile.write(json.dumps(event).encode() + b"\n")

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cluster = Cluster(server=f"http://127.0.0.1:{server.server_port}")
    config = KubeConfig.from_one(cluster=cluster, user=User())
    client = Client(config=config, timeout=httpx.Timeout(2.0))

    events = client.watch(
        Ingress,
        namespace="*",
        resource_version="5",  # of a list that had "kept" and "deleted"
        on_error=lambda error, count: OnErrorResult(OnErrorAction.RETRY),
    )
    told = {f"{kind} {found.metadata.name}" for _, (kind, found) in zip(range(3), events)}
    print("told after 410:", *told)

    Api.silent = True
    ended = threading.Event()

    def listen(ask):
        ended.clear()

        def run():
            try:
                list(ask())
            except httpx.TimeoutException:
                ended.set()

        threading.Thread(target=run, daemon=True).start()
        return "ended" if ended.wait(8) else "still waits after 8 s"

    print("list of a silent server, timeout 2 s:", listen(lambda: client.list(Ingress, namespace="*")))
    print("watch of a silent server, timeout 2 s:", listen(lambda: client.watch(Ingress, namespace="*")))
    over.set()
    server.shutdown()
PYTHON
"$folder/venv/bin/python" -c 'from importlib.metadata import version; print("lightkube", version("lightkube"))'
"$folder/venv/bin/python" "$folder/watch.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
told after 410: ADDED kept
list of a silent server, timeout 2 s: ended
watch of a silent server, timeout 2 s: still waits after 8 s
TEXT
