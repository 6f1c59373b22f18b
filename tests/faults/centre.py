"""The trainer's service in a thread of the test: everything of it but its process, its rounds and its files over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from shared import topics
from shared.bus import Will
from shared.clock import SystemClock
from shared.codec import encode
from shared.config import load_site
from shared.console import Console
from shared.identity import new_boot_id
from shared.messages import WorkerState
from shared.mqtt import MqttBus
from tests.faults.plant import LINES
from trainer.pool.pool import Pool
from trainer.service import Service, Voice

_STEP_S = 0.02


class Centre:
    """A trainer that takes candidates in."""

    def __init__(self, service: Service, pool: Pool) -> None:
        self.pool = pool
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="centre", daemon=True)
        self.error: Exception | None = None

    @classmethod
    @contextmanager
    def opened(cls, site_toml: Path) -> Iterator[Self]:
        """Serve until the block ends."""
        site, lines = load_site(site_toml)
        clock, boot, worker = SystemClock(), new_boot_id(), site.trainer.worker
        topic = topics.worker_state(site.site, worker)
        bus = MqttBus(
            site.broker,
            client_id=f"winnow-trainer-{site.site}-{worker}",
            filters=(topics.ingest(site.site),),
            will=Will(topic, encode(WorkerState(boot=boot, online=False))),
        )
        voice = Voice(Console(as_json=True), threading.Event())
        with Pool.open(site_toml.parent / site.trainer.directory, clock=clock) as pool:
            service = Service(site, lines, pool=pool, bus=bus, clock=clock, voice=voice, boot=boot)
            centre = cls(service, pool)
            bus.start()
            centre._thread.start()
            try:
                yield centre
            finally:
                centre._stop.set()
                centre._thread.join()
                service.farewell()
                bus.stop()
        if centre.error is not None:
            raise centre.error

    def received(self) -> int:
        """How many candidates the pool took in for the first time."""
        return sum(self.pool.counters(line)["received"] for line in LINES)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._service.step(timeout_s=_STEP_S)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test hears it
            self.error = error
