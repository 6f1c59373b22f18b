"""A look through one camera: does it answer, what does it give, and if not, why not."""

import threading
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final, cast

from edge_agent.inspection.cameras.camera import Away, BadFrame, Camera, Frame, Seen
from shared.clock import Clock

#: How long a camera that was told to stop may take.
_LET_GO_S: Final = 2.0


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


@dataclass(slots=True)
class _Look:
    """What was seen so far, and what went wrong with looking."""

    reason: str
    taken: list[float] = field(default_factory=list)
    last: Frame | None = None
    bad: int = 0
    error: BaseException | None = None


def probe(camera: Camera, clock: Clock, *, frames: int, within_s: float) -> Probe:
    """Take up to so many frames, within so many seconds, from a camera that may block for ever."""
    stop, done = threading.Event(), threading.Event()
    look = _Look(reason=f"no frame within {within_s:g} s")

    def work() -> None:
        try:
            _take(camera, look, clock, stop, frames=frames)
        except BaseException as error:  # noqa: BLE001  # raised again where somebody waits for it
            look.error = error
        finally:
            done.set()

    threading.Thread(target=work, name="probe", daemon=True).start()
    clock.wait(done, within_s)
    stop.set()
    # A source takes a moment to let go of; one that blocks is left behind.
    clock.wait(done, _LET_GO_S)
    if look.error is not None:
        raise look.error
    taken, last = look.taken, look.last
    if last is None:
        return Probe(bad=look.bad, reason=look.reason)
    # What a source had ready comes at once; the later half shows its pace.
    later = taken[len(taken) // 2 - 1 :] if len(taken) > 3 else taken
    took_s = later[-1] - later[0]
    return Probe(
        frames=len(taken),
        bad=look.bad,
        size=(last.image.shape[0], last.image.shape[1]),
        frames_per_s=(len(later) - 1) / took_s if took_s > 0.0 else None,
        ids=tuple(sorted(last.ids.items())),
    )


def _take(camera: Camera, look: _Look, clock: Clock, stop: threading.Event, *, frames: int) -> None:
    # A camera is a generator in all but name: closing it lets go of its source.
    with closing(cast(Generator[Seen, None, None], camera.frames(stop))) as seen:
        for entry in seen:
            match entry:
                case Frame():
                    look.taken.append(clock.monotonic())
                    look.last = entry
                case BadFrame(_, reason):
                    look.bad, look.reason = look.bad + 1, reason
                case Away(reason):
                    look.reason = reason
            if len(look.taken) + look.bad >= frames:
                return
