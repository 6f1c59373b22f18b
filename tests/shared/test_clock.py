import threading

from shared.clock import ManualClock, SystemClock


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5.0)

    clock.advance(2.0)

    assert (clock.now(), clock.monotonic()) == (7.0, 7.0)


def test_waiting_on_a_manual_clock_moves_it_and_says_whether_to_stop() -> None:
    clock, stop = ManualClock(0.0), threading.Event()

    assert clock.wait(stop, 3.0) is False
    stop.set()
    assert clock.wait(stop, 4.0) is True
    assert clock.now() == 7.0


def test_the_systems_clock_stops_waiting_at_once_when_asked() -> None:
    stop = threading.Event()
    stop.set()

    assert SystemClock().wait(stop, 3600.0) is True
