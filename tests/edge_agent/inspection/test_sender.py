import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_agent.handoff import Handed, read_handed
from edge_agent.inspection.sender import Sender
from edge_agent.paths import listen
from shared.clock import SystemClock


@contextmanager
def running(sender: Sender) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=(stop,), name="sender")
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(timeout=10)
        assert not thread.is_alive()


def accept(server: socket.socket, count: int) -> list[Handed]:
    """Take some candidates from one connection and hang up."""
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as stream:
        return [handed for handed in (read_handed(stream) for _ in range(count)) if handed is not None]


def test_candidates_arrive_in_order(tmp_path: Path) -> None:
    sent = [Handed("strip", float(n), bytes([n]) * 1000) for n in range(10)]
    sender = Sender(tmp_path / "handoff.sock", SystemClock())

    with listen(tmp_path / "handoff.sock") as server, running(sender):
        for handed in sent:
            assert sender.offer(handed)
        arrived = accept(server, 10)

    assert arrived == sent
    assert sender.is_empty
    assert sender.dropped == 0


def test_candidates_wait_for_a_courier_that_is_not_there_yet(tmp_path: Path) -> None:
    sender = Sender(tmp_path / "handoff.sock", SystemClock())
    handed = Handed("strip", 1.0, b"crop")

    with running(sender):
        sender.offer(handed)
        assert not sender.is_empty
        with listen(tmp_path / "handoff.sock") as server:
            arrived = accept(server, 1)

    assert arrived == [handed]


def test_a_courier_that_died_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "handoff.sock"
    sender = Sender(path, SystemClock())
    first, second = Handed("strip", 1.0, b"one"), Handed("strip", 2.0, b"two")

    with running(sender):
        sender.offer(first)
        with listen(path) as server:
            before = accept(server, 1)
        with listen(path) as server:
            sender.offer(second)
            after = accept(server, 1)

    assert (before, after) == ([first], [second])
    assert sender.dropped == 0


def test_what_cannot_be_sent_at_the_end_is_counted(tmp_path: Path) -> None:
    sender = Sender(tmp_path / "handoff.sock", SystemClock())
    sender.offer(Handed("strip", 1.0, b"one"))
    sender.offer(Handed("strip", 2.0, b"two"))

    with running(sender):
        pass

    assert sender.dropped == 2
    assert sender.is_empty
