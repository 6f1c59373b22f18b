"""Which simulated strip a camera of a simulated line looks at: the node, the oracle and experiments agree here."""

from shared.config import LineConfig
from shared.errors import ConfigError
from shared.steel_line import SteelLine


def simulated_camera(line: LineConfig, *, node: str, camera: str) -> SteelLine:
    """Build the strip that one camera sees; every camera sees a strip of its own."""
    settings = line.simulator
    if settings is None:
        raise ConfigError(f'line "{line.line}": no [simulator] table; only a simulated line has simulated cameras')
    return SteelLine(
        settings.seed,
        f"{line.line}/{node}/{camera}",
        height_px=settings.height_px,
        width_px=settings.width_px,
        classes=line.class_names[1:],
        scale=settings.scale,
        rates=settings.rates,
    )
