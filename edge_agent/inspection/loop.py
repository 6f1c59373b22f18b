"""The frame loop of one camera: frame, verdicts, candidates, counters. It waits for nobody but its camera.

A release that is ready is taken over between two frames: the loop looks at its line's slot once per frame,
so every frame is judged by one release from beginning to end.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edge_agent.handoff import Handed
from edge_agent.inspection.cameras.camera import Away, BadFrame, Camera, Frame
from edge_agent.inspection.candidates import CandidateMaker
from edge_agent.inspection.inspector import Inspector, Judged
from edge_agent.inspection.keepsakes import Keepsakes
from edge_agent.inspection.loading import LoadedRelease
from edge_agent.inspection.sender import Sender
from edge_agent.log import LOG
from edge_agent.stream.filter import Verdict
from edge_agent.stream.sight import Alarm, Glance
from shared.clock import Clock
from shared.errors import ReleaseError
from shared.messages import CameraState

#: What the spool evicts by, for the random floor: above any gain, so that it stays a uniform sample.
FLOOR_VALUE: Final = 1e6
#: How often what the filter remembers is put down, if anything was sent; the first time at once.
KEEP_S: Final = 60.0
REASONS: Final = ("floor", "novel", "dull", "known", "budget", "unclear", "oversize")


@dataclass(slots=True)
class LineSlot:
    """The release that a line's cameras take over before their next frame."""

    release: LoadedRelease | None = None


class CameraLoop:
    """One camera's loop and its counters."""

    def __init__(
        self,
        name: str,
        camera: Camera,
        inspector: Inspector,
        slot: LineSlot,
        *,
        maker: CandidateMaker,
        sender: Sender,
        clock: Clock,
        ids: Mapping[str, str],
        keepsakes: Keepsakes,
    ) -> None:
        self.name = name
        self.line = inspector.line.line
        self._camera = camera
        self._inspector = inspector
        self._slot = slot
        self._maker = maker
        self._sender = sender
        self._clock = clock
        #: What every frame of the camera is marked with; what a frame brings itself counts more.
        self._ids = ids
        self._verdicts: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._frames = self._bad = self._missed = self._patches = self._bytes = 0
        self._frame_number = -1
        self._frame_ms = 0.0
        self._keepsakes = keepsakes
        self._keep_at = 0.0
        self._is_kept = True
        recalled = keepsakes.recall(name, self.line)
        if recalled is not None:
            inspector.recall(*recalled)
        self._away = ""
        self._alarm = Alarm()
        self._faults: Counter[str] = Counter()
        #: Replaced whole after each frame, so that whoever reads it sees one moment.
        self.state = self._state()

    def run(self, stop: threading.Event) -> None:
        """Judge frames until the camera ends or ``stop`` is set."""
        for frame in self._camera.frames(stop):
            started = self._clock.monotonic()
            match frame:
                case Away(reason):
                    self._say_away(reason)
                case BadFrame():
                    self._frame_number = frame.number
                    # A broken image comes from a source that is there.
                    self._say_away("")
                    self._skip(frame.reason)
                case Frame():
                    self._frame_number = frame.number
                    self._missed += frame.missed
                    self._say_away("")
                    self._inspect(frame, started)
                    if not self._is_kept and started >= self._keep_at:
                        self._keep(started)
            self.state = self._state()
        self._keep(self._clock.monotonic())

    def _inspect(self, frame: Frame, now: float) -> None:
        release = self._slot.release
        if release is not None and release is not self._inspector.release:
            self._inspector.take_over(release)
        try:
            ids = {**self._ids, **frame.ids}
            judged = self._inspector.judge(frame.image, now=now, recipe=ids.get("recipe"))
        except ReleaseError as error:
            self._skip(f"frame {frame.number}: {error}")
            return
        self._frames += 1
        self._look_after(judged.glance)
        self._patches += len(judged.verdicts)
        self._bytes += frame.image.nbytes
        for index, verdict in enumerate(judged.verdicts):
            handed_over = not verdict.accepted or self._hand_over(frame, judged, index, verdict)
            self._verdicts[verdict.reason if handed_over else "oversize"] += 1
        took_ms = 1000.0 * (self._clock.monotonic() - now)
        self._frame_ms += (took_ms - self._frame_ms) * (1.0 if self._frames == 1 else 0.05)

    def _hand_over(self, frame: Frame, judged: Judged, index: int, verdict: Verdict) -> bool:
        """Offer one candidate to the courier; False when it is too large to be sent at all."""
        line = self._inspector.line
        data = self._maker.make(
            line,
            camera=self.name,
            frame=frame,
            patch=judged.patch(index),
            verdict=verdict,
            embedding=judged.embeddings.get(index),
            release=self._inspector.release,
            seen=self._patches,
            ids={**self._ids, **frame.ids},
        )
        if data is None:
            return False
        self._inspector.charge(verdict, len(data))
        self._is_kept = False
        value = FLOOR_VALUE if verdict.reason == "floor" else verdict.gain or 0.0
        self._sender.offer(Handed(line.line, value, data))
        return True

    def _keep(self, now: float) -> None:
        """Have what the filter remembers written by whoever has time for it."""
        self._keepsakes.put_down(self.name, self.line, self._inspector.remember())
        self._keep_at, self._is_kept = now + KEEP_S, True

    def _look_after(self, glance: Glance) -> None:
        """Count what a frame says of its camera, and tell when somebody should see to it."""
        self._faults.update(glance.faults)
        if not self._alarm.note(glance.faults):
            return
        if self._alarm.raised:
            LOG.warning(
                "camera %s: %s (brightness %.2f and sharpness %.2f of the usual, %.1f %% of the view under dirt); "
                "what is unclear is not sent as novel: see to the camera",
                self.name,
                ", ".join(self._alarm.raised),
                glance.level,
                glance.sharpness,
                100.0 * glance.dirt,
            )
        else:
            LOG.info("camera %s: sees clearly again", self.name)

    def _say_away(self, reason: str) -> None:
        """Note that the camera gives no frames, and why, or that it gives them again; said once for each reason."""
        if reason and reason != self._away:
            LOG.warning("camera %s: %s; looking again", self.name, reason)
        elif self._away and not reason:
            LOG.info("camera %s: gives frames again", self.name)
        self._away = reason

    def _skip(self, reason: str) -> None:
        self._bad += 1
        LOG.warning("camera %s: %s; frame skipped, %d so far", self.name, reason, self._bad)

    def _state(self) -> CameraState:
        return CameraState(
            camera=self.name,
            line=self.line,
            frames=self._frames,
            frames_bad=self._bad,
            frames_missed=self._missed,
            frame_number=self._frame_number,
            patches=self._patches,
            bytes_seen=self._bytes,
            verdicts=dict(self._verdicts),
            frame_ms=round(self._frame_ms, 3),
            away=self._away,
            needs=self._alarm.raised,
            faults=dict(self._faults),
        )
