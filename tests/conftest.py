"""What every test may use: a private broker, and the markers that ask for more than a bare machine.

The default run needs no network, no GPU and no image sets. ``--data DIR`` gives the image sets, ``--gpu``
and ``--soak`` ask for the others; without them such tests are skipped and say why.
"""

import getpass
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# Several small processes share the machine; a maths library with a thread per core makes all of them slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Loopback is never behind a proxy.
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"

ROOT = Path(__file__).resolve().parent.parent
#: How a skipped test says that the machine lacks something; the end of the run gathers these.
MISSING = "facility missing: "


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("winnow")
    group.addoption("--data", type=Path, metavar="DIR", help="run the tests that need real image sets, found in DIR")
    group.addoption("--gpu", action="store_true", help="run the tests that need a GPU")
    group.addoption("--soak", action="store_true", help="run the long tests")


def pytest_configure(config: pytest.Config) -> None:
    # The same examples each time, so that a red run is about the change; make soak looks for new ones.
    hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
    hypothesis.settings.register_profile("soak", max_examples=2000, deadline=None)
    hypothesis.settings.load_profile("soak" if config.getoption("--soak") else "steady")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = {
        "data": (config.getoption("--data"), "needs real image sets: pytest --data DIR"),
        "gpu": (config.getoption("--gpu"), "needs a GPU: pytest --gpu"),
        "soak": (config.getoption("--soak"), "long: make soak"),
    }
    for item in items:
        for marker, (given, reason) in wanted.items():
            if not given and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the fault tests did, and what this machine lacked for some of them."""
    reports = [one for group in terminalreporter.stats.values() for one in group if isinstance(one, pytest.TestReport)]
    told = [str(value) for report in reports for name, value in report.user_properties if name == "fault"]
    # Of a test that ran, setup and teardown are reported too, each with the same words.
    for words in dict.fromkeys(told):
        terminalreporter.write_line(f"faults: {words}")
    reasons = [str(report.longrepr[2]) for report in reports if report.skipped and isinstance(report.longrepr, tuple)]
    missing = sorted({reason.split(MISSING, 1)[1] for reason in reasons if MISSING in reason})
    if missing:
        terminalreporter.write_line(f"facilities missing: {', '.join(missing)}")


@pytest.fixture
def data(request: pytest.FixtureRequest) -> Path:
    """The folder of real image sets."""
    directory: Path = request.config.getoption("--data")
    return directory


class Mosquitto:
    """A private broker on loopback that can go away and come back on the same port."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        #: Lines of its configuration that say who may do what; read at the next start.
        self.access: tuple[str, ...] = ("allow_anonymous true",)
        self._process: subprocess.Popen[str] | None = None
        self._reader = threading.Thread()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def start(self) -> None:
        """Start it and return once it listens."""
        config = self._directory / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\n" + "".join(f"{line}\n" for line in self.access) + "persistence false\n"
            "connection_messages false\n"
            # Started by root it would give root up, and with it the test's files.
            f"user {getpass.getuser()}\n"
            "log_dest stderr\n"
            "log_type error\n"
            "log_type information\n",
            encoding="utf-8",
        )
        self._process = subprocess.Popen([self._program, "-c", str(config)], stderr=subprocess.PIPE, text=True)
        said = []
        for line in self._process.stderr or ():
            said.append(line)
            if line.rstrip().endswith("running"):
                break
        else:
            self._process.wait()
            pytest.fail("mosquitto ended: " + "".join(said))
        # What it says later must not fill the pipe.
        self._reader = threading.Thread(target=self._process.stderr.read, name="mosquitto-log", daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """End it as a power cut would; ``start`` brings it back on the same port."""
        if self._process is not None:
            self._process.kill()
            self.stop()

    def stop(self) -> None:
        """End it by its own process."""
        if self._process is not None:
            # mosquitto says "running" a moment before it heeds SIGTERM: one that came in between is lost.
            for _ in range(30):
                self._process.terminate()
                try:
                    self._process.wait(timeout=1)
                    break
                except subprocess.TimeoutExpired:
                    continue
            else:
                self._process.kill()
                self._process.wait()
            self._reader.join(timeout=10)
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None


@pytest.fixture
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """A private MQTT 5 broker of this test alone."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.fail("mosquitto is not installed; make setup installs it")
    broker = Mosquitto(program, tmp_path_factory.mktemp("mosquitto"))
    broker.start()
    yield broker
    broker.stop()
