"""A look through one camera: does it answer, what does it give, and if not, why not."""

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

from edge_agent.inspection.cameras.camera import Away, BadFrame, Camera, Frame, Seen
from shared.clock import Clock


@dataclass(frozen=True, slots=True)
class Probe:
    """What a camera gave in a short while."""

    frames: int = 0
    bad: int = 0
    #: Of the last frame: height and width.
    size: tuple[int, int] | None = None
    #: None with fewer than two frames.
    frames_per_s: float | None = None
    #: What a frame is marked with.
    ids: tuple[tuple[str, str], ...] = ()
    #: Why there was no frame.
    reason: str = ""

    @property
    def reachable(self) -> bool:
        """Whether the camera gave a frame."""
        return self.frames > 0


def probe(camera: Camera, clock: Clock, *, frames: int, within_s: float) -> Probe:
    """Take up to so many frames, within so many seconds."""
    stop, done = threading.Event(), threading.Event()

    def watch() -> None:
        clock.wait(done, within_s)
        stop.set()

    watchdog = threading.Thread(target=watch, name="probe", daemon=True)
    watchdog.start()
    taken: list[float] = []
    last: Frame | None = None
    bad = 0
    reason = f"no frame within {within_s:g} s"
    try:
        # A camera is a generator in all but name: closing it lets go of its source.
        with closing(cast(Generator[Seen, None, None], camera.frames(stop))) as seen:
            for entry in seen:
                match entry:
                    case Frame():
                        last = entry
                        taken.append(clock.monotonic())
                    case BadFrame(_, reason):
                        bad += 1
                    case Away(reason):
                        pass
                if len(taken) + bad >= frames:
                    break
    finally:
        done.set()
        watchdog.join()
    if last is None:
        return Probe(bad=bad, reason=reason)
    # What a source had ready comes at once; the later half shows its pace.
    later = taken[len(taken) // 2 - 1 :] if len(taken) > 3 else taken
    took_s = later[-1] - later[0]
    return Probe(
        frames=len(taken),
        bad=bad,
        size=(last.image.shape[0], last.image.shape[1]),
        frames_per_s=(len(later) - 1) / took_s if took_s > 0.0 else None,
        ids=tuple(sorted(last.ids.items())),
    )
