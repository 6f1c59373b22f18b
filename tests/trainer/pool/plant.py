"""A broker in memory, one node, and the ingest."""

import msgspec

from shared import topics
from shared.bus import MemoryBroker, MemoryBus, Received
from shared.clock import ManualClock
from shared.codec import decode, encode
from shared.config import LineConfig
from shared.identity import CandidateId
from shared.messages import Ack, Candidate
from shared.transport import IngestTable
from trainer.pool.ingest import Ingest, StepReport
from trainer.pool.pool import Pool


class Plant:
    """A broker in memory, one node and the ingest."""

    def __init__(self, pool: Pool, line: LineConfig, clock: ManualClock, *, quota: IngestTable | None = None) -> None:
        self.broker = MemoryBroker()
        self.pool = pool
        self.deferred: dict[str, str] = {}
        self.node = MemoryBus(self.broker, filters=(topics.ack("mill", "n1"),))
        self.node.start()
        bus = MemoryBus(self.broker, filters=(topics.ingest("mill"),))
        bus.start()
        self.ingest = Ingest(pool, site="mill", lines={"strip": line}, bus=bus, clock=clock, quota=quota)
        self.ingest.step(timeout_s=0)
        self.node.events(timeout_s=0)

    def send(self, *payloads: Candidate | bytes, topic: str = "winnow/v1/mill/n1/cand/strip") -> None:
        for payload in payloads:
            self.node.publish(topic, payload if isinstance(payload, bytes) else encode(payload))

    def step(self) -> StepReport:
        return self.ingest.step(timeout_s=0)

    def answers(self) -> tuple[list[str], dict[str, str]]:
        """What the node was told: acknowledged ids, and refused ids with the reason."""
        acked: list[str] = []
        nacked: dict[str, str] = {}
        for event in self.node.events(timeout_s=0):
            assert isinstance(event, Received)
            ack = decode(event.payload, Ack)
            acked += ack.acked
            nacked |= {nack.id: nack.reason for nack in ack.nacked}
            self.deferred |= {nack.id: nack.reason for nack in ack.deferred}
        return acked, nacked


def renamed(candidate: Candidate, **parts: object) -> Candidate:
    """Give a candidate another id."""
    parsed = CandidateId.parse(candidate.id)
    name = CandidateId(**{"node": "n1", "boot": parsed.boot, "seq": parsed.seq, "digest": parsed.digest, **parts})
    return msgspec.structs.replace(candidate, id=str(name))
