"""Probation on live frames."""

from edge_agent.releases.probation import FRAMES, QUIET_S, SWAP_S, Failed, Passed, Probation
from shared.messages import CameraState


def camera(frames: int, *, missed: int = 0, bad: int = 0, line: str = "strip", name: str = "top") -> CameraState:
    return CameraState(camera=name, line=line, frames=frames, frames_missed=missed, frames_bad=bad)


def begun() -> Probation:
    return Probation.begin(line="strip", sha256="a" * 64, now=100.0, silence_s=30.0)


def test_a_few_frames_under_the_release_pass() -> None:
    probation = begun().heard([camera(500)], 101.0).swapped(102.0).heard([camera(510)], 103.0)

    assert probation.outcome(103.0) is None
    assert isinstance(probation.heard([camera(510 + FRAMES)], 104.0).outcome(104.0), Passed)


def test_frames_before_the_swap_do_not_count() -> None:
    probation = begun().heard([camera(1)], 101.0).heard([camera(90)], 102.0)

    assert probation.outcome(103.0) is None


def test_frames_of_another_line_do_not_count() -> None:
    probation = begun().swapped(101.0).heard([camera(0, line="coil")], 102.0).heard([camera(90, line="coil")], 103.0)

    assert probation.outcome(103.0) is None


def test_a_silent_inspection_fails() -> None:
    probation = begun().swapped(101.0).heard([camera(5)], 102.0)

    assert probation.outcome(132.0) is None
    assert isinstance(probation.outcome(132.5), Failed)


def test_a_release_that_never_comes_up_fails() -> None:
    probation = begun().heard([camera(5)], 100.0 + SWAP_S)

    assert probation.outcome(100.0 + SWAP_S) is None
    assert isinstance(probation.outcome(100.5 + SWAP_S), Failed)


def test_a_camera_at_rest_does_not_fail_a_release() -> None:
    probation = begun().swapped(101.0).heard([camera(5)], 102.0).heard([camera(5)], 102.0 + QUIET_S)

    assert isinstance(probation.outcome(102.0 + QUIET_S), Passed)


def test_frames_that_come_but_do_not_get_through_fail_a_release() -> None:
    for now in (camera(5, missed=9), camera(5, bad=9)):
        probation = begun().swapped(101.0).heard([camera(5)], 102.0).heard([now], 102.0 + QUIET_S)

        assert isinstance(probation.outcome(102.0 + QUIET_S), Failed)


def test_the_end_of_every_source_passes() -> None:
    assert isinstance(begun().swapped(101.0).ended().outcome(101.0), Passed)
