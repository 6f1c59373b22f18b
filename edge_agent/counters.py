"""A node's counters across restarts of its inspection process."""

from collections.abc import Mapping, Sequence

import msgspec

from shared.messages import CameraState


def add_counters(before: Mapping[str, CameraState], cameras: Sequence[CameraState]) -> tuple[CameraState, ...]:
    """Add what earlier inspection processes of this start of the node counted to what this one counts."""
    return tuple(_add(before[camera.camera], camera) if camera.camera in before else camera for camera in cameras)


def _add(before: CameraState, camera: CameraState) -> CameraState:
    return msgspec.structs.replace(
        camera,
        # A process that saw nothing yet must not make the next one begin anew.
        frame_number=camera.frame_number if camera.frame_number >= 0 else before.frame_number,
        frames=before.frames + camera.frames,
        frames_bad=before.frames_bad + camera.frames_bad,
        frames_missed=before.frames_missed + camera.frames_missed,
        patches=before.patches + camera.patches,
        bytes_seen=before.bytes_seen + camera.bytes_seen,
        verdicts=_sum(before.verdicts, camera.verdicts),
        faults=_sum(before.faults, camera.faults),
    )


def _sum(before: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    return {name: before.get(name, 0) + counts.get(name, 0) for name in {**before, **counts}}
