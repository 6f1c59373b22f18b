"""The conductor: writes a rollout document, wakes the nodes and watches them answer.

What is decided stands in `rollout`; here are the files and the bus.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy import rollout as decide
from deploy.fleet import Fleet, connect, listen
from deploy.rollout import Progress
from deploy.store import Store
from shared import codec, topics
from shared.bus import Bus, Event
from shared.clock import Clock
from shared.errors import LinkError
from shared.messages import Hint
from shared.release import Rollout

#: Retained messages come right after the connection; a node that has not spoken by then is not known.
_SETTLE_S = 1.0
_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Conductor:
    """One site's rollouts: its store, and a bus that hears `fleet_filters`."""

    site: str
    store: Store
    bus: Bus
    clock: Clock
    stop: threading.Event
    #: What error messages call the broker.
    where: str

    def announce(self, line: str, release: str, *, nodes: tuple[str, ...]) -> tuple[Rollout, bool]:
        """Write the next document and publish the hint on a started bus; say whether the hint went out."""
        with self.store.locked(line):
            stored = self.store.release(line, release)
            # Nodes would refuse a broken release one by one: refuse it here, before anything is written.
            self.store.check_files(stored)
            document = decide.next_document(
                self.store.rollout(line),
                stored.manifest,
                manifest_sha256=stored.sha256,
                nodes=nodes,
                now=self.clock.now(),
            )
            self.store.write_rollout(document)
        try:
            self.bus.publish(topics.hint(self.site), codec.encode(Hint(line=line, rollout=document.rollout)))
        except LinkError:
            return document, False
        return document, True

    def conduct(
        self,
        line: str,
        release: str,
        *,
        nodes: tuple[str, ...],
        timeout_s: float,
        tell: Callable[[Rollout, Progress], None],
    ) -> Progress:
        """Roll a release out and watch until every node that is meant has answered, or time is up.

        Raises:
            ReleaseError: A node refused the release, or the release does not verify.
            StateError: Nodes stayed silent, or none is known.
            LinkError: The broker is away; nothing was written.
        """
        fleet = Fleet()
        heard = connect(self.bus, clock=self.clock, stop=self.stop, timeout_s=_CONNECT_S, where=self.where)
        try:
            self._listen(fleet, _SETTLE_S, lambda _: False, heard)
            document, _ = self.announce(line, release, nodes=nodes)
            meant = decide.nodes_meant(document, fleet.of_line(line))
            progress = decide.judge(document, meant, fleet.nodes)

            def settled(fleet: Fleet) -> bool:
                nonlocal progress
                progress = decide.judge(document, meant, fleet.nodes)
                tell(document, progress)
                return progress.settled

            self._listen(fleet, timeout_s, settled, ())
        finally:
            self.bus.stop()
        error = decide.failure(document, progress, waited_s=timeout_s)
        if error is not None:
            raise error
        return progress

    def _listen(self, fleet: Fleet, timeout_s: float, enough: Callable[[Fleet], bool], heard: Sequence[Event]) -> None:
        listen(
            fleet,
            self.bus,
            clock=self.clock,
            stop=self.stop,
            timeout_s=timeout_s,
            enough=enough,
            heard=heard,
        )
