"""Counters across restarts of the inspection process."""

from edge_agent.counters import add_counters
from shared.messages import CameraState


def test_a_restart_takes_nothing_back() -> None:
    before = CameraState(
        camera="top",
        line="strip",
        frames=100,
        frames_bad=2,
        frames_missed=5,
        frame_number=99,
        patches=400,
        bytes_seen=9000,
        verdicts={"floor": 3, "dull": 397},
        frame_ms=4.0,
    )
    now = CameraState(
        camera="top",
        line="strip",
        frames=7,
        frames_bad=1,
        frames_missed=0,
        frame_number=6,
        patches=28,
        bytes_seen=700,
        verdicts={"floor": 1, "novel": 0},
        frame_ms=3.0,
    )
    side = CameraState(camera="side", line="strip", frames=1)

    total = add_counters({"top": before}, (now, side))

    assert total == (
        CameraState(
            camera="top",
            line="strip",
            frames=107,
            frames_bad=3,
            frames_missed=5,
            frame_number=6,
            patches=428,
            bytes_seen=9700,
            verdicts={"floor": 4, "dull": 397, "novel": 0},
            frame_ms=3.0,
        ),
        side,
    )
