#!/usr/bin/env bash
# What a reader of Statuspage's API makes of planned maintenance.
#
# Expected: a page whose indicator is "none", and on which one component is under maintenance as
#   planned, has no outage.
# What happens: statuspage-prometheus-exporter takes every component that is not "operational" for
#   trouble, overrules the page's indicator with "minor", and exports the status 0.
# Why a monitor cares: who serves this API wakes people with planned work, and no status is safe to
#   send for a component of which nothing is known.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q 'statuspage-prometheus-exporter==2.6.0'

cat > "$folder/ask.py" <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from statuspage_prometheus_exporter.service_checker import check_status_page_service

NOW, LATER = "2026-11-28T10:00:00.000Z", "2026-11-28T12:00:00.000Z"
COMPONENTS = [
    {"id": "a", "name": "shop", "status": "operational", "group": False},
    {"id": "b", "name": "search", "status": "under_maintenance", "group": False},
]
SUMMARY = {
    "page": {"id": "p", "name": "Example", "url": "http://127.0.0.1/", "updated_at": NOW},
    "status": {"indicator": "none", "description": "Service Under Maintenance"},
    "components": COMPONENTS,
    "incidents": [],
    "scheduled_maintenances": [
        {
            "id": "m",
            "name": "Planned work",
            "status": "in_progress",
            "impact": "maintenance",
            "scheduled_for": NOW,
            "scheduled_until": LATER,
            "components": COMPONENTS[1:],
        }
    ],
}


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(SUMMARY).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/api/v2/summary.json"
found = check_status_page_service("example", {"name": "Example", "url": url})
print({key: found[key] for key in ("status", "raw_status", "details")})
PYTHON

cd "$folder"  # it looks for its settings where it is
version=$(venv/bin/pip show statuspage-prometheus-exporter | grep ^Version)
echo "statuspage-prometheus-exporter ${version#Version: }"
venv/bin/python ask.py 2>/dev/null | tee seen
diff seen - <<'TEXT'
{'status': 0, 'raw_status': 'minor', 'details': 'Non-operational components: search'}
TEXT
