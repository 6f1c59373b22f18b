"""A private MQTT broker: one mosquitto child on a loopback port, with a configuration written for it alone.

It persists nothing: whatever must survive stands in the spools and the pool.
"""

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shared.clock import Clock
from shared.errors import ConfigError, LinkError

#: Debian keeps daemons where the search path of a plain user does not look.
_PLACES: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/usr/local/opt/mosquitto/sbin")
_TRIES: Final = 5
_PATIENCE_S: Final = 10.0
_STOP_S: Final = 5.0
#: Above what a node sends (120 kB), far below what would hurt a broker.
_MAX_PACKET_BYTES: Final = 1_000_000


def find_mosquitto(which: Callable[[str], str | None] = shutil.which) -> str:
    """Find the broker's binary."""
    found = which("mosquitto") or next((place for place in map(_in_place, _PLACES) if place is not None), None)
    if found is None:
        raise ConfigError(
            "mosquitto: the MQTT broker is not installed; run apt-get install mosquitto (or brew install mosquitto)"
        )
    return found


def broker_configuration(port: int, also: Sequence[str] = ()) -> str:
    """Write the configuration of a broker that only this machine can reach; ``also`` are further lines of it."""
    return "\n".join(
        (
            f"listener {port} 127.0.0.1",
            "allow_anonymous true",
            "persistence false",
            f"max_packet_size {_MAX_PACKET_BYTES}",
            "max_inflight_messages 100",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            *also,
            "",
        )
    )


def free_port() -> int:
    """Ask the system for a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class PrivateBroker:
    """A mosquitto child; `port` is where it listens once it is started."""

    def __init__(self, directory: Path, *, clock: Clock, also: Sequence[str] = ()) -> None:
        self._directory = directory
        self._clock = clock
        self._also = also
        self._child: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def log(self) -> Path:
        """What the broker has to say."""
        return self._directory / "mosquitto.log"

    def start(self) -> None:
        """Start the child and return once it answers."""
        binary = find_mosquitto()
        self._directory.mkdir(parents=True, exist_ok=True)
        # A port that was free may be taken before the child binds it: ask again then.
        for _ in range(_TRIES):
            self._launch(binary, free_port())
            if self._answers():
                return
            self.stop()
        words = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise LinkError(f"mosquitto: does not come up: {words[-1] if words else 'it says nothing'}; see {self.log}")

    def restart(self) -> None:
        """Start the child again on the same port, after it died."""
        self.stop()
        self._launch(find_mosquitto(), self.port)
        if not self._answers():
            raise LinkError(f"mosquitto: does not come back on port {self.port}; see {self.log}")

    def alive(self) -> bool:
        """Say whether the child runs."""
        return self._child is not None and self._child.poll() is None

    def stop(self) -> None:
        """End the child."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child = None

    def _launch(self, binary: str, port: int) -> None:
        self.port = port
        configuration = self._directory / "mosquitto.conf"
        configuration.write_text(broker_configuration(port, self._also), encoding="utf-8")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [binary, "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        deadline = self._clock.monotonic() + _PATIENCE_S
        while self.alive() and self._clock.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError:
                self._clock.wait(threading.Event(), 0.05)
            else:
                return True
        return False


def _in_place(folder: str) -> str | None:
    return shutil.which("mosquitto", path=folder)
