"""A place that its servers refuse logs each reason once, however often it tries."""

import socket
from itertools import count
from threading import Thread

from tests.system.processes import Daemon
from tests.waiting import until

SITES = """
locations: {{nats: {{servers: ["nats://127.0.0.1:{port}"], user: fra, password: open-sesame}}}}
sites: [{{url: "tcp://127.0.0.1:1", interval: 1s, timeout: 500ms}}]
"""
INFO = b'INFO {"server_id":"x","version":"2.10.0","proto":1,"headers":true,"max_payload":1024}\r\n'
ANSWERS = (b"-ERR 'Authorization Violation'\r\n", b"-ERR 'Maximum Connections Exceeded'\r\n")


def test_answers_that_alternate_are_told_once(tmp_path):
    """The server alternates between two errors, and the log has each of them once."""
    served = count()
    refused = []

    def refuse(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                connection.settimeout(5)
                connection.sendall(INFO)
                for line in lines:
                    if line.startswith(b"CONNECT"):
                        connection.sendall(ANSWERS[next(served) % 2])
                        refused.append(line)
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=refuse, args=(listener,), daemon=True).start()
        text = SITES.format(port=listener.getsockname()[1])
        daemon = Daemon(tmp_path, text, arguments=("--location", "fra"))
        try:
            until(lambda: len(refused) >= 5, "five attempts")
            log = daemon.logged("Authorization Violation", "Maximum Connections Exceeded")
            told = [line for line in log.splitlines() if "locations_failed" in line]
            assert len(told) == len({line.partition("detail=")[2] for line in told})
            assert "open-sesame" not in log
            assert daemon.stop() == 0
        finally:
            daemon.kill()
            listener.shutdown(socket.SHUT_RDWR)
