#!/usr/bin/env bash
# Zones of IPv6 addresses (RFC 4007) in glibc's getaddrinfo and Python's sockets.
#
# Expected: ADDRESS%INTERFACE means the same for every address, and by every call that takes it.
# What happens: getaddrinfo knows names of interfaces for link-local addresses alone, numbers for
#   all; and connect() of Python takes the address with its zone as a text, but connects without the
#   zone, so that the kernel answers "Invalid argument".
# Why a monitor cares: an address that ping reaches fails with a sentence that names no cause. Take
#   the zone off the text and give the interface's number beside the address.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/ask.py" <<'PYTHON'
import socket

for text in ("fe80::5%near", "fd00::5%near", f"fd00::5%{socket.if_nametoindex('near')}"):
    try:
        found = socket.getaddrinfo(text, 80, flags=socket.AI_NUMERICHOST)[0][4]
        print(text.rpartition("%")[0], "by", "number:" if text[-1].isdigit() else "name:",
              found[3] == socket.if_nametoindex("near"))
    except OSError as error:
        print(text.rpartition("%")[0], "by name:", error.strerror)
for address in (("fe80::5%near", 80), ("fe80::5", 80, 0, socket.if_nametoindex("near"))):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(address)
            print("connect with", len(address), "parts: connected")
        except OSError as error:
            print("connect with", len(address), "parts:", error.strerror)
PYTHON
alone=(unshare --net)
((EUID == 0)) || alone=(unshare --map-root-user --net)
"${alone[@]}" bash -ec '
  ip link add near type veth peer name far
  ip address add fe80::5/64 dev near nodad
  ip link set near up
  exec python3 "$1"' - "$folder/ask.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
fe80::5 by name: True
fd00::5 by name: Name or service not known
fd00::5 by number: True
connect with 2 parts: Invalid argument
connect with 4 parts: connected
TEXT
