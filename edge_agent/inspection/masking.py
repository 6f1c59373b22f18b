"""What a release sees in one image: the class of every pixel, through the mask graph that no frame loop loads."""

from pathlib import Path

from edge_agent.inspection.loading import open_mask
from shared.config import load_agent
from shared.errors import ConfigError
from shared.files import read_bounded
from shared.geometry import Image, PatchGrid
from shared.images import decode_image, encode_mask
from shared.release import MANIFEST_NAME, MAX_MANIFEST_BYTES, read_manifest

_MAX_IMAGE_BYTES = 256 << 20


def mask_image(agent_toml: Path, image: Path, *, line: str | None, release: Path) -> bytes:
    """Return the classes of an image's pixels as a palette PNG in the line's colours.

    Args:
        agent_toml: The node.
        image: Any image of the line.
        line: Which of the node's lines; the only one when absent.
        release: A folder with a release of that line.
    """
    agent, lines = load_agent(agent_toml)
    name = line or (next(iter(lines)) if len(lines) == 1 else "")
    if name not in lines:
        raise ConfigError(f'{agent_toml}: no line "{name}"; known lines are {", ".join(sorted(lines))}')
    settings = lines[name]
    manifest = read_manifest(
        read_bounded(release / MANIFEST_NAME, limit=MAX_MANIFEST_BYTES), sha256=None, what=f"release {release.name}"
    )
    if manifest.line != name or manifest.geometry != settings.grid:
        raise ConfigError(
            f'release {release.name}: made for line "{manifest.line}" and {manifest.geometry}, line.toml of "{name}" says {settings.grid}; it is not used'
        )
    pixels = decode_image(read_bounded(image, limit=_MAX_IMAGE_BYTES), what=str(image), channels=settings.grid.channels)
    graph = open_mask(release, manifest, settings, agent.runtime)
    seen = frame_mask(settings.grid, graph.masks(settings.grid.tiles(pixels)), *pixels.shape[:2])
    return encode_mask(seen, [entry.colour for entry in settings.classes])


def frame_mask(grid: PatchGrid, tile_masks: Image, height_px: int, width_px: int) -> Image:
    """Put the interiors of tiles' masks ``(n, tile_px, tile_px)`` together to one of the frame."""
    rows, cols = grid.tile_shape(height_px, width_px)
    side = grid.patches_per_side * grid.patch_px
    inner = tile_masks[:, grid.inset_px : grid.inset_px + side, grid.inset_px : grid.inset_px + side]
    whole = inner.reshape(rows, cols, side, side).transpose(0, 2, 1, 3).reshape(rows * side, cols * side)
    return whole[:height_px, :width_px]
