"""
A server that completes TLS handshakes with every client, and sends nothing more.

    python -m tests.bench.mute CERTIFICATE FILE

It prints its port, and adds one byte to the file for each handshake. Runs until killed.
"""

import contextlib
import resource
import socket
import ssl
import sys
import threading
from pathlib import Path


def main() -> None:
    certificate, file = sys.argv[1:]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    kept: list[socket.socket] = []

    def shake(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            kept.append(context.wrap_socket(client, server_side=True))
            with Path(file).open("ab") as count:
                count.write(b".")

    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=shake, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
