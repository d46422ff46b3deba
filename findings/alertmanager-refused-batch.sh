#!/usr/bin/env bash
# What Alertmanager keeps of a batch of alerts that it refuses.
#
# Expected: a request that is answered with a client error has changed nothing, or says what of it
#   was taken. An alert that starts in the future is accepted, or refused with that reason.
# What happens: of a batch that is answered with 400 every alert that is in order is taken, and the
#   answer does not say which; of one that is answered with 422 none is. An alert that starts ahead
#   by more than resolve_timeout (5 minutes) and has no end is refused with "start time must be
#   before end time".
# Why a monitor cares: a sender that drops a refused batch believes that nobody was told, one that
#   sends it again sends it for ever, and one whose clock is ahead looks for an end it never wrote.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
GOBIN="$folder" go install github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1
printf 'route: {receiver: nobody}\nreceivers: [{name: nobody}]\n' >alertmanager.yml
cat >ask.py <<'PYTHON'
import json
import subprocess
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{address}{path}", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()


def wait_for_address():
    for line in server.stderr:
        if "Listening on" in line:
            return line.partition("address=")[2].split()[0]
    raise SystemExit("Alertmanager did not start")


ahead = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
batches = {
    "one starts ahead": [{"labels": {"alertname": "a"}}, {"labels": {"alertname": "b"}, "startsAt": ahead}],
    "one has no labels": [{"labels": {"alertname": "c"}}, {"annotations": {}}],
}
server = subprocess.Popen(
    ["./alertmanager", "--config.file=alertmanager.yml", "--storage.path=data",
     "--web.listen-address=127.0.0.1:0", "--cluster.listen-address="],
    stderr=subprocess.PIPE, text=True,
)
try:
    address = wait_for_address()
    for name, batch in batches.items():
        status, text = ask("/api/v2/alerts", batch)
        time.sleep(0.5)
        kept = sorted(one["labels"]["alertname"] for one in json.loads(ask("/api/v2/alerts")[1]))
        print(f"{name}: {status} {text}; it now has {', '.join(kept)}")
finally:
    server.kill()
PYTHON
go version -m alertmanager | awk '$1 == "mod" {print $2, $3}'
python3 ask.py | tee seen
diff seen - <<'TEXT'
one starts ahead: 400 "start time must be before end time"; it now has a
one has no labels: 422 {"code":602,"message":"1.labels in body is required"}; it now has a
TEXT
