"""The demo's hand on rollouts: one thread that brings each new release to the nodes, as `winnow rollout start` does."""

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from deploy.bus import open_bus
from deploy.conductor import Conductor
from deploy.demo.record import Told
from deploy.rollout import Progress
from deploy.store import Store, store_root
from shared.clock import Clock
from shared.config import SiteConfig
from shared.errors import WinnowError
from shared.release import Rollout

_TIMEOUT_S: Final = 90.0


class Roller:
    """Rolls releases out one after the other; a release that is overtaken while it waits is left out."""

    def __init__(
        self,
        site_file: Path,
        site: SiteConfig,
        line: str,
        *,
        inbox: "queue.Queue[Told]",
        since_start: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._site_file = site_file
        self._site = site
        self._line = line
        self._inbox = inbox
        self._since_start = since_start
        self._clock = clock
        self._waiting: queue.Queue[str | None] = queue.Queue(64)
        self._unfinished = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-rollouts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, release: str) -> None:
        """Bring this release to the nodes next."""
        self._unfinished += 1
        self._waiting.put(release)

    @property
    def idle(self) -> bool:
        """Say whether everything asked for is over; every end is told to the inbox before."""
        return self._unfinished == 0

    def finished(self) -> None:
        """Take note, on the owner's side, that one release's end has been heard."""
        self._unfinished -= 1

    def stop(self) -> None:
        """Leave the rollout in hand as it is and end."""
        self._stop.set()
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (release := self._waiting.get()) is not None and not self._stop.is_set():
            try:
                error = self._roll_out(release) if self._waiting.empty() else "a newer release came before its turn"
            except KeyboardInterrupt:
                # That is how a wait ends that is told to stop.
                return
            self._tell("rollout_ended", release=release, error=error)

    def _roll_out(self, release: str) -> str | None:
        bus, where = open_bus(self._site_file, self._site)
        store = Store(store_root(self._site_file, self._site))
        conductor = Conductor(
            site=self._site.site, store=store, bus=bus, clock=self._clock, stop=self._stop, where=where
        )
        last: tuple[str, ...] | None = None

        def tell(document: Rollout, progress: Progress) -> None:
            nonlocal last
            if progress.done != last:
                last = progress.done
                self._tell(
                    "rollout",
                    release=release,
                    rollout=document.rollout,
                    done=list(progress.done),
                    meant=len(progress.standings),
                )

        try:
            conductor.conduct(self._line, release, nodes=(), timeout_s=_TIMEOUT_S, tell=tell)
        except WinnowError as error:
            return str(error)
        return None

    def _tell(self, name: str, **fields: Any) -> None:
        self._inbox.put(Told(self._since_start(), "conductor", name, fields))
