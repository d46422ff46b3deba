"""A PostgreSQL server that goes silent, as behind a firewall that forgets connections."""

import socket
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest
from alembic.util import CommandError
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from monitor.history.journal import SLOTS
from monitor.history.store import connect, migrate, sentence, store_url
from tests.builders import site, up_result
from tests.history.lives import World


class Relay:
    """
    Passes bytes between TCP clients and a server's Unix socket, unless it is told to stop.

    Attributes:
        silent: Nothing is passed.
        mute: No answer is passed.
    """

    def __init__(self, path):
        self.silent = Event()
        self.mute = Event()
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = []
        Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._path)
                self._open += [client, server]
                for ends in ((client, server, self.silent), (server, client, self.mute)):
                    Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source, target, stopped):
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.silent.is_set() and not stopped.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self):
        for one in (self._listener, *self._open):
            one.close()


@pytest.fixture
def relay(postgres):
    one = Relay(str(postgres.folder / ".s.PGSQL.5432"))
    yield one
    one.close()


def _fall_silent(engine, relay, before):
    with engine.begin() as connection:
        if before == "a statement":
            relay.silent.set()
        connection.execute(text("SELECT 1"))
        relay.silent.set()


@pytest.mark.real
@pytest.mark.parametrize("silent_before", ["a statement", "a commit"])
def test_a_server_that_falls_silent_is_given_up(postgres, relay, silent_before):
    """The transaction fails with one sentence, and the next one reconnects and succeeds."""
    url = make_url(postgres.database()).set(query={}, host="127.0.0.1", port=relay.port)
    engine = connect(
        store_url(url.render_as_string(hide_password=False), None), writes=True, silence=0.3
    )
    try:
        with engine.begin() as connection:
            migrate(connection)
        with pytest.raises(OperationalError) as caught:
            _fall_silent(engine, relay, silent_before)
        assert sentence(caught.value) == "the server has not answered for 0.3 seconds"
        relay.silent.clear()
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()


@pytest.mark.real
def test_a_result_whose_commit_was_not_answered_counts_once(postgres, relay, tmp_path):
    """Each transaction is committed and its answer lost, including those that pack results."""
    url = make_url(postgres.database()).set(query={}, host="127.0.0.1", port=relay.port)
    world = World(tmp_path, url.render_as_string(hide_password=False), silence=0.3)
    sites = [site(f"shop-{number}") for number in range(12)]
    world.start(*sites)
    begin = world.clock.time()
    for round_ in range(1, 4):
        world.clock.advance(5.0)  # the slots of five seconds, and so some of the sites, are packed
        for one in sites:
            world.enter(up_result(one, world.clock.time()))
        event.listen(world.writer._engine, "commit", lambda _: relay.mute.set(), once=True)
        world.turn()
        assert world.told.failures == round_
        relay.mute.clear()
        world.clock.advance(1.0)
        world.turn()
        assert world.told.persistent[-1]
    reader = world.reader()

    def counts():
        until = world.clock.time() + 1
        return {len(reader.results(one.name, begin, until)) for one in sites}

    assert counts() == {3}
    for _ in range(0, SLOTS, 5):  # until all are packed
        world.pass_time(5.0)
    assert counts() == {3}
    world.close()


@pytest.mark.real
def test_a_server_that_works_for_long_is_not_silent_to_a_command(postgres):
    """Without a limit, as for a vacuum, the command waits for the answer."""
    engine = connect(store_url(postgres.database(), None), writes=True)
    try:
        with engine.begin() as connection:
            assert connection.execute(text("SELECT pg_sleep(0.3), 1")).one()[1] == 1
    finally:
        engine.dispose()


@pytest.mark.real
def test_a_migration_that_fails_leaves_the_limit_on_silence(postgres):
    """When the tables' revision is unknown, the next statement still has its limit."""
    engine = connect(store_url(postgres.database(), None), writes=True, silence=0.3)
    try:
        with engine.begin() as connection:
            migrate(connection)
            connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
        with engine.connect() as connection:
            with pytest.raises(CommandError, match="0000"):
                migrate(connection)
            driver: Any = connection.connection.driver_connection
            assert driver.silence == 0.3
    finally:
        engine.dispose()
