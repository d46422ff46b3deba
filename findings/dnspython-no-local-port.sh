#!/usr/bin/env bash
# dnspython where this machine has no local port left for a datagram.
#
# Expected: the error of the system, as for a machine without file descriptors (OSError), at once.
# What happens: sendto() says EAGAIN, which dnspython takes for a full buffer. It waits until the
#   socket is writable, which it is, and tries again without a pause: a whole core is busy until the
#   deadline, and then the caller hears that the name server did not answer (Timeout).
# Why a monitor cares: its own shortage looks like a name server that is down, and costs processor
#   time while it lasts. Look for a free port before a timeout is believed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q dnspython==2.9.2
cat > "$folder/ask.py" <<'PYTHON'
import socket, time
import dns.message, dns.query, dns.version

held = []
try:
    while True:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        held.append(sock)
except OSError:
    pass
query = dns.message.make_query("example.com", "A")
print("dnspython", dns.version.version)
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(query.to_wire(), ("127.0.0.1", 53))
except OSError as error:
    print("a socket says:", error.strerror)
calls = 0
class Counting(socket.socket):
    def sendto(self, *args):
        global calls
        calls += 1
        return super().sendto(*args)
dns.query.socket_factory = Counting
try:
    dns.query.udp(query, "127.0.0.1", timeout=1)
except Exception as error:
    print("dnspython says:", type(error).__name__, "- tries in one second:", "more than a hundred" if calls > 100 else calls)
PYTHON
# A network namespace with two local ports, so that nothing else on this machine runs short
alone=(unshare --net)
((EUID == 0)) || alone=(unshare --map-root-user --net)
"${alone[@]}" bash -c 'ip link set lo up; sysctl -qw net.ipv4.ip_local_port_range="50000 50001"; exec "$@"' \
  - "$folder/venv/bin/python" "$folder/ask.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
dnspython 2.9.2
a socket says: Resource temporarily unavailable
dnspython says: Timeout - tries in one second: more than a hundred
TEXT
