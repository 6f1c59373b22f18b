"""The trainer's service: takes candidates in, serves the store, keeps the round workers alive.

The main thread runs the ingest; HTTP and each worker's events have a thread of their own. Whatever dies,
nothing acknowledged is lost: the pool's transactions are the only state.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from shared import topics
from shared.bus import Bus, Connected, Disconnected, Will
from shared.clock import Clock, SystemClock
from shared.codec import encode
from shared.config import LineConfig, SiteConfig
from shared.console import Console
from shared.errors import LinkError
from shared.identity import new_boot_id
from shared.messages import WorkerState
from shared.mqtt import MqttBus
from trainer.paths import load
from trainer.pool.arrival import Refusal
from trainer.pool.ingest import Ingest, StepReport, Tally
from trainer.pool.pool import Pool, PoolAwayError
from trainer.web.server import HttpServer
from trainer.web.store import build_app
from trainer.workers import Worker, worker_command

#: How often the ingest is told of, at most.
_TELL_EVERY_S: Final = 1.0
#: A broker that has not answered for so long is said to be away, once.
_SILENCE_S: Final = 3.0
#: Refusals are told one by one only up to this many a step: a mad node must not fill the log.
_REFUSALS_TOLD: Final = 3


class Voice:
    """The service's one mouth: events of all its threads, each a whole line.

    When nobody listens any more (the reader of a pipe went) the service is told to stop.
    """

    def __init__(self, console: Console, stop: threading.Event) -> None:
        self._console = console
        self._stop = stop
        self._lock = threading.Lock()
        #: By line: the work that its worker is at, and the tenth of it that was told last.
        self._told: dict[object, tuple[tuple[object, object], int]] = {}

    def event(self, name: str, text: str = "", **fields: object) -> None:
        """Tell one event."""
        with self._lock:
            try:
                self._console.event(name, text, **fields)
            except BrokenPipeError:
                # What is still buffered would raise again at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                self._stop.set()

    def warn(self, text: str) -> None:
        """Say what is odd."""
        with self._lock:
            self._console.warn(text)

    def pass_on(self, event: dict[str, object]) -> None:
        """Tell a worker's event; of its progress people hear each tenth."""
        fields = dict(event)
        name = str(fields.pop("event", "log"))
        rest = ", ".join(f"{key} {value}" for key, value in fields.items() if isinstance(value, str | int | float))
        fields.pop("text", None)
        self.event(name, self._tenth(fields) if name == "progress" else f"{name}: {rest}", **fields)

    def _tenth(self, fields: Mapping[str, object]) -> str:
        """Say how far a work is when it enters another tenth, else nothing; what takes one step is not told."""
        line, work, number, done, total = (fields.get(key) for key in ("line", "work", "round", "done", "total"))
        if not isinstance(done, int) or not isinstance(total, int):
            return ""
        tenth = 10 * done // max(total, 1)
        before, last = self._told.get(line, (None, 0))
        if before != (work, number) or tenth < last:
            last = 0 if done < total else tenth
        self._told[line] = (work, number), tenth
        return f"{line}, round {number}: {work} {done} of {total}" if tenth > last else ""


class Service:
    """One trainer: built from its parts, run until told to stop."""

    def __init__(
        self,
        site: SiteConfig,
        lines: dict[str, LineConfig],
        *,
        pool: Pool,
        bus: Bus,
        clock: Clock,
        voice: Voice,
        boot: str,
    ) -> None:
        self._site = site
        self._pool = pool
        self._bus = bus
        self._clock = clock
        self._voice = voice
        self._boot = boot
        self._born = clock.monotonic()
        self._ingest = Ingest(pool, site=site.site, lines=lines, bus=bus, clock=clock, quota=site.ingest)
        self._connected = False
        self._said_away = False
        self._pool_away: str | None = None
        self._told_at = 0.0
        self._tally: dict[str, Tally] = {}
        self._lost = 0

    def step(self, *, timeout_s: float = 0.5) -> StepReport:
        """Do one round of the ingest and tell what there is to tell."""
        report = self._ingest.step(timeout_s=timeout_s)
        self._mind_connection(report.connection)
        self._mind_pool(report)
        self._tell_refusals(report.refusals)
        if report.denied is not None:
            self._voice.warn(f"broker: the trainer {report.denied}; give it the right in the broker's access rules")
        if self._bus.dropped > self._lost:
            self._voice.warn(
                f"ingest: {self._bus.dropped - self._lost} messages found no room; their nodes send them again"
            )
            self._lost = self._bus.dropped
        for line, tally in report.lines.items():
            self._add(line, tally)
        now = self._clock.monotonic()
        if self._tally and now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            self.tell()
        return report

    def _tell_refusals(self, refusals: Sequence[Refusal]) -> None:
        for refusal in refusals[:_REFUSALS_TOLD]:
            what = "put off" if refusal.curable else "refused"
            self._voice.warn(f"ingest: {what} ({refusal.kind}): {refusal.reason}")
        if len(refusals) > _REFUSALS_TOLD:
            self._voice.warn(f"ingest: {len(refusals) - _REFUSALS_TOLD} more put off or refused; all are counted")

    def tell(self) -> None:
        """Tell what came since the last time."""
        try:
            counts = {line: self._pool.counts(line)["pool"] for line in self._tally}
        except PoolAwayError:
            return  # told when the pool answers again
        told, self._tally = self._tally, {}
        for line, tally in told.items():
            waiting = counts[line]
            counts_said = f"{tally.new} new, {tally.again} again, {tally.refused} refused, {tally.deferred} put off"
            text = f"{line or 'no line'}: {counts_said}, pool {waiting}"
            self._voice.event("ingest", text, line=line, pool=waiting, **asdict(tally))

    def farewell(self) -> None:
        """Say that this worker is gone, in case the broker still listens."""
        if self._connected:
            self._publish_presence(online=False)

    def health(self) -> tuple[bool, dict[str, object]]:
        """Say whether candidates get in: what ``/healthz`` answers."""
        facts: dict[str, object] = {"site": self._site.site, "broker": self._connected, "pool": self._pool_away or "ok"}
        return self._pool_away is None, facts

    def _add(self, line: str, tally: Tally) -> None:
        sum_ = self._tally.setdefault(line, Tally())
        sum_.new += tally.new
        sum_.again += tally.again
        sum_.refused += tally.refused
        sum_.deferred += tally.deferred
        sum_.dropped += tally.dropped
        sum_.bytes += tally.bytes

    def _mind_connection(self, change: Connected | Disconnected | None) -> None:
        if isinstance(change, Connected):
            self._connected = True
            self._said_away = False
            self._publish_presence(online=True)
            self._voice.event("broker", "broker: connected", connected=True)
        elif isinstance(change, Disconnected):
            self._connected = False
            # The bus says a reason once; another one is news.
            self._said_away = False
            self._say_away(change.reason)
        elif not self._connected and self._clock.monotonic() - self._born > _SILENCE_S:
            self._say_away("no answer")

    def _say_away(self, reason: str) -> None:
        if not self._said_away:
            self._said_away = True
            broker = f"{self._site.broker.host}:{self._site.broker.port}"
            self._voice.event("broker", f"broker {broker}: {reason}; trying on", connected=False)

    def _mind_pool(self, report: StepReport) -> None:
        if report.away is not None:
            if self._pool_away is None:
                self._voice.warn(f"{report.away}; candidates stay with their nodes")
            self._pool_away = str(report.away)
        elif report.lines and self._pool_away is not None:
            self._pool_away = None
            self._voice.warn("pool: writes go through again")

    def _publish_presence(self, *, online: bool) -> None:
        topic = topics.worker_state(self._site.site, self._site.trainer.worker)
        try:
            self._bus.publish(topic, encode(WorkerState(boot=self._boot, online=online)), retain=True)
        except LinkError:
            return  # the broker went again; its will speaks for us, the next connect says it anew


def serve(site_toml: Path, *, rounds: bool, console: Console, stop: threading.Event) -> None:
    """Run the trainer's service until ``stop`` is set."""
    site, lines, paths = load(site_toml)
    clock = SystemClock()
    voice = Voice(console, stop)
    boot = new_boot_id()
    with ExitStack() as stack:
        stack.enter_context(paths.claim("serve"))
        pool = stack.enter_context(Pool.open(paths.directory, clock=clock))
        bus = _bus(site, boot=boot, base=site_toml.parent)
        service = Service(site, lines, pool=pool, bus=bus, clock=clock, voice=voice, boot=boot)
        http = HttpServer(
            build_app(paths.public, service.health), host=site.trainer.http_host, port=site.trainer.http_port
        )
        stack.callback(http.stop)
        http.start()
        bus.start()
        stack.callback(bus.stop)
        stack.callback(service.farewell)
        voice.event("ready", f"store at http://{site.trainer.http_host}:{http.port}", http_port=http.port)
        wanted = [line for line in lines.values() if rounds or line.rounds.auto]
        with _workers(site_toml, wanted, clock=clock, voice=voice) as workers:
            while not stop.is_set():
                service.step()
                for worker in workers:
                    # A terminal's signal ends the workers too: that is no death to make good.
                    if not stop.is_set() and (said := worker.tend()) is not None:
                        voice.warn(said)
        service.tell()


def _bus(site: SiteConfig, *, boot: str, base: Path) -> MqttBus:
    worker = site.trainer.worker
    will = Will(topics.worker_state(site.site, worker), encode(WorkerState(boot=boot, online=False)))
    return MqttBus(
        site.broker,
        client_id=f"winnow-trainer-{site.site}-{worker}",
        filters=(topics.ingest(site.site),),
        will=will,
        base=base,
    )


@contextmanager
def _workers(site_toml: Path, lines: Sequence[LineConfig], *, clock: Clock, voice: Voice) -> Iterator[list[Worker]]:
    workers = [
        Worker(line.line, worker_command(site_toml, line.line), clock=clock, hear=voice.pass_on) for line in lines
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.stop()
