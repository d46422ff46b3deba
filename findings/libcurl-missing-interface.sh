#!/usr/bin/env bash
# libcurl and a link-local address whose interface does not exist.
#
# Expected: http://[fe80::1%25absent]/ fails at once, since this machine has no interface "absent".
# What happens: the name is dropped in silence, and libcurl connects through the one interface it
#   finds that has a link-local address; an address behind a cable that nobody meant is asked.
# Why a monitor cares: after a rename of interfaces the check asks another network, and is up if
#   somebody there has the address. Look the interface up before libcurl is called.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pycurl==7.49.0
cat > "$folder/ask.py" <<'PYTHON'
import http.server, socket, threading
import pycurl

class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
threading.Thread(target=Server(("::", 8080), Page).serve_forever, daemon=True).start()
curl = pycurl.Curl()
curl.setopt(pycurl.URL, "http://[fe80::5%25absent]:8080/")
curl.setopt(pycurl.TIMEOUT_MS, 5000)
print(pycurl.version_info()[1])
try:
    curl.perform()
    print("status", curl.getinfo(pycurl.RESPONSE_CODE))
except pycurl.error as error:
    print(*error.args)
PYTHON
alone=(unshare --net)
((EUID == 0)) || alone=(unshare --map-root-user --net)
"${alone[@]}" bash -ec '
  ip link set lo up
  ip link add near type veth peer name far
  ip address add fe80::5/64 dev near nodad
  ip link set near up
  exec "$@"' - "$folder/venv/bin/python" "$folder/ask.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
8.23.0
status 204
TEXT
