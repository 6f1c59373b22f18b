"""The configuration of a site, a line and a node: frozen structs with every default stated once.

``site.toml`` describes the centre, one ``line.toml`` each unit of learning, ``agent.toml`` one node. Unknown
keys are refused with the file, the key and the known names; every faulty table of a file is reported in one
go; paths are relative to the file that names them.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from msgspec import Meta, field
from msgspec.structs import replace

from shared.acquisition import LineAcquisitionTable
from shared.contradictions import (
    acquisition_contradictions,
    release_contradictions,
    selection_contradictions,
    unknown_places,
)
from shared.errors import ConfigError
from shared.geometry import PatchGrid
from shared.kinds import Colour, Count, Interval, Name, Positive, Share, StoreUrl, Table
from shared.precision import ReleaseTable
from shared.sources import CameraTable, SteelLineSource, faults_of_camera
from shared.tables import read_tables, refuse
from shared.transport import BrokerTable, IngestTable, SpoolTable, faults_of_broker
from shared.ways import GreedySampler, Sampler, StrategyName, Weighting


class TrainerTable(Table, frozen=True):
    """Where the trainer keeps its things and serves releases from."""

    directory: str = "trainer"
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 8480
    worker: Name = "main"


class SiteConfig(Table, frozen=True):
    """``site.toml``: one plant."""

    site: Name
    lines: Annotated[tuple[str, ...], Meta(min_length=1)]
    broker: BrokerTable = BrokerTable()
    trainer: TrainerTable = TrainerTable()
    ingest: IngestTable = IngestTable()


class ClassTable(Table, frozen=True):
    """One class of the class map; its place in the list is its value in masks, 0 first."""

    name: Annotated[str, Meta(min_length=1, max_length=60)]
    colour: Colour = "#808080"


class GeometryTable(Table, frozen=True):
    """The sizes a line is cut by."""

    tile_px: Count = 1024
    patch_px: Count = 256
    margin_px: Annotated[int, Meta(ge=0, le=4096)] = 128
    cell_px: Count = 64
    channels: Literal[1, 3] = 1
    top_share: Share = 1 / 64

    @property
    def grid(self) -> PatchGrid:
        """The sizes as the graphs, the node and the trainer use them; a ``ConfigError`` where they do not fit together."""
        return PatchGrid(
            tile_px=self.tile_px,
            patch_px=self.patch_px,
            margin_px=self.margin_px,
            cell_px=self.cell_px,
            channels=self.channels,
        )


class BudgetTable(Table, frozen=True):
    """What each camera of the line may send."""

    patches_per_hour: Positive = 200.0
    burst: Count = 50
    floor_share: Share = 0.05
    bytes_per_hour: Positive | None = None


class FilterTable(Table, frozen=True):
    """The stream filter: which scores are worth an embedding, and how far the novelty memory reaches."""

    gate_share: Share = 0.33
    memory: Annotated[int, Meta(ge=1, le=1024)] = 1024
    noise: Positive = 0.01


class SightTable(Table, frozen=True):
    """When a frame says that its camera needs care, against what the camera usually shows; 0 never says so."""

    #: Dark: below this share of the usual brightness.
    dark: Share = 0.5
    #: Blurred: below this share of the usual sharpness, down or across.
    blurred: Share = 0.4
    #: Dirty: more than this share of the view lies under spots that stay.
    dirty: Share = 0.002


class CropTable(Table, frozen=True):
    """How a crop travels."""

    format: Literal["jpeg", "png"] = "jpeg"
    quality: Annotated[int, Meta(ge=50, le=100)] = 95


class PoolTable(Table, frozen=True):
    """How much the pool holds."""

    cap: Count = 200_000


class QuotaTable(Table, frozen=True):
    """How a batch is shared among groups: fixed places by name first, the rest in proportion to what each group weighs."""

    by: Literal["camera", "class"]
    places: dict[str, Count] = field(default_factory=dict)


class SelectionTable(Table, frozen=True):
    """How a batch is chosen: the strategy, and what it weighs, draws with and leaves out."""

    strategy: StrategyName = "greedy"
    weighting: Weighting = "quality"
    sampler: Literal["auto", Sampler, GreedySampler] = "auto"
    batch: Count = 200
    a: Share = 0.4
    b: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.6
    tau: Positive | None = None
    #: Of so many draws of the k-DPP the likeliest batch is kept.
    draws: Annotated[int, Meta(ge=1, le=1_000)] = 1
    #: A new batch is unlike what is labelled, where the draw can be given it.
    conditioned: bool = True
    #: The cosine above which patches count as one; every patch stands for itself when absent.
    near_duplicates: Annotated[float, Meta(ge=0.5, lt=1.0)] | None = None
    #: Of the ranking by score, every how many-th patch ``stride`` takes.
    stride: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    #: Among how many of the highest scores ``meal`` and ``meal-ft`` choose, at least.
    informative: Count = 200
    quota: QuotaTable | None = None
    reference_share_first: Share = 0.3
    reference_share: Share = 0.1

    def check(self) -> None:
        """Refuse settings that do not go together, all of them in one ``ConfigError``."""
        problems = tuple(selection_contradictions(self))
        if problems:
            raise ConfigError("\n".join(problems), problems=problems)


class LabellingTable(Table, frozen=True):
    """Who answers a hand-over: people through a folder, or the simulator's own truth."""

    source: Literal["folder", "oracle"] = "folder"


class SpaceTable(Table, frozen=True):
    """The embedding space: a SimCLR encoder trained once per line."""

    encoder: str = "resnet34"
    steps: Count = 20_000
    minibatch: Count = 256
    learning_rate: Positive = 1e-3
    temperature: Positive = 0.2
    min_patches: Count = 2_000
    #: How views of a patch differ; ``auto`` goes by the channels.
    recipe: Literal["auto", "grey", "colour"] = "auto"
    checkpoint_every: Interval = 500

    def decisive(self) -> Self:
        """Return what decides the weights: all but how often a checkpoint is written."""
        return replace(self, checkpoint_every=0)


class LearningTable(Table, frozen=True):
    """The task model and how it is trained."""

    architecture: str = "unet"
    encoder: str = "resnet34"
    decoder_channels: tuple[Count, ...] = (256, 128, 64, 32, 16)
    steps: Count = 4_000
    minibatch: Count = 16
    learning_rate: Positive = 1e-3
    warm_start: bool = True
    #: What the encoder begins with where the model does not begin with an older one's weights.
    encoder_from: Literal["nothing", "space"] = "nothing"
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    checkpoint_every: Interval = 500
    #: How often a training is judged on the reference set, its end included.
    judgements: Annotated[int, Meta(ge=1, le=1000)] = 10
    #: After how many judgements in a row without better weights it ends, with the best ones; 0 never.
    stop_patience: Annotated[int, Meta(ge=0, le=1000)] = 0

    def decisive(self) -> Self:
        """Return what decides the weights: how often they are judged decides only where that may end the training."""
        return replace(self, checkpoint_every=0, judgements=self.judgements if self.stop_patience else 1)


class GateTable(Table, frozen=True):
    """The rules a run must pass, measured on the reference set."""

    #: How far its mean IoU may lie below that of the release in service.
    max_drop: Share = 0.05
    #: The least IoU of classes, by name.
    class_floors: dict[str, Share] = field(default_factory=dict)
    #: How many reference patches must hold a class before its floor is judged; at least 4.
    class_patches: Annotated[int, Meta(ge=4, le=10_000)] = 5
    #: How far confidence may be from accuracy: the expected calibration error.
    max_ece: Share = 0.2
    #: What a tile may take in the task graph, in milliseconds; not measured when absent.
    latency_ms: Positive | None = None
    latency_provider: Literal["cpu", "cuda"] = "cpu"
    #: 0 leaves it to the runtime.
    latency_threads: Annotated[int, Meta(ge=0, le=256)] = 1


class RoundsTable(Table, frozen=True):
    """When a round begins: the pool is large enough and enough has come since the newest release or selection."""

    auto: bool = False
    min_pool: Count = 500
    min_new: Annotated[int, Meta(ge=0)] = 0
    #: How many rounds to hold before stopping; 0 goes on for ever.
    max_rounds: Annotated[int, Meta(ge=0)] = 0
    #: What every draw and every initialisation of the rounds starts from.
    seed: Annotated[int, Meta(ge=0)] = 0


class SimulatorTable(Table, frozen=True):
    """The simulated line behind the oracle; only lines whose labels come from it name it."""

    seed: int = 0
    height_px: Count = 512
    width_px: Count = 512
    scale: Positive = 1.0
    rates: dict[str, Share] = field(default_factory=dict)


class LineConfig(Table, frozen=True):
    """``line.toml``: a class map, sizes, budget and the rules of its rounds."""

    line: Name
    classes: Annotated[tuple[ClassTable, ...], Meta(min_length=2, max_length=200)]
    geometry: GeometryTable = GeometryTable()
    budget: BudgetTable = BudgetTable()
    filter: FilterTable = FilterTable()
    sight: SightTable = SightTable()
    crop: CropTable = CropTable()
    pool: PoolTable = PoolTable()
    acquisition: LineAcquisitionTable = LineAcquisitionTable()
    selection: SelectionTable = SelectionTable()
    labelling: LabellingTable = LabellingTable()
    space: SpaceTable = SpaceTable()
    learning: LearningTable = LearningTable()
    gate: GateTable = GateTable()
    release: ReleaseTable = ReleaseTable()
    rounds: RoundsTable = RoundsTable()
    simulator: SimulatorTable | None = None

    @property
    def grid(self) -> PatchGrid:
        """The line's sizes."""
        return self.geometry.grid

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class map in mask order."""
        return tuple(entry.name for entry in self.classes)


class RuntimeTable(Table, frozen=True):
    """How the graphs run."""

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    #: Whether a provider that was asked for and is not what runs refuses the release, or is only said.
    strict: bool = True
    threads: Annotated[int, Meta(ge=0, le=256)] = 0


class AgentConfig(Table, frozen=True):
    """``agent.toml``: one node."""

    node: Name
    site: Name
    lines: Annotated[tuple[str, ...], Meta(min_length=1)]
    cameras: Annotated[tuple[CameraTable, ...], Meta(min_length=1, max_length=64)]
    directory: str = "agent"
    releases_url: StoreUrl = "http://127.0.0.1:8480"
    poll_s: Positive = 60.0
    heartbeat_s: Positive = 5.0
    broker: BrokerTable = BrokerTable()
    spool: SpoolTable = SpoolTable()
    runtime: RuntimeTable = RuntimeTable()


def load_line(path: Path) -> LineConfig:
    """Read and check one ``line.toml``."""
    line = read_tables(
        path, LineConfig, checks={"geometry": lambda table: table.grid, "selection": SelectionTable.check}
    )
    problems = []
    names = list(line.class_names)
    problems += [f'classes: "{name}" is named twice' for name in sorted({n for n in names if names.count(n) > 1})]
    problems += [
        f'gate.class_floors: "{name}" is not a class of the line; known classes are {", ".join(names)}'
        for name in line.gate.class_floors
        if name not in names
    ]
    if line.labelling.source == "oracle" and line.simulator is None:
        problems.append(
            'labelling.source is "oracle" but there is no [simulator] table; only a simulated line knows its own truth'
        )
    try:
        problems += release_contradictions(line)
    except ConfigError as error:
        problems.append(str(error))
    if line.space.recipe == "colour" and line.geometry.channels != 3:
        problems.append(
            f'space.recipe is "colour" but geometry.channels is {line.geometry.channels}; it takes 3: use "grey" or "auto"'
        )
    if line.learning.encoder_from == "space" and line.learning.encoder != line.space.encoder:
        problems.append(
            f'learning.encoder_from is "space" but learning.encoder is "{line.learning.encoder}" and space.encoder "{line.space.encoder}"; give both one name'
        )
    problems += acquisition_contradictions(line) + selection_contradictions(line.selection) + unknown_places(line)
    refuse(path, problems)
    return line


def load_site(path: Path) -> tuple[SiteConfig, dict[str, LineConfig]]:
    """Read ``site.toml`` and the line files it names, by line name."""
    site = read_tables(path, SiteConfig)
    refuse(path, faults_of_broker(site.broker))
    return site, _lines(path, site.lines)


def load_agent(path: Path) -> tuple[AgentConfig, dict[str, LineConfig]]:
    """Read ``agent.toml`` and the line files it names, by line name."""
    agent = read_tables(path, AgentConfig)
    lines = _lines(path, agent.lines)
    names = [camera.name for camera in agent.cameras]
    problems = [f'cameras: "{name}" is named twice' for name in sorted({n for n in names if names.count(n) > 1})]
    problems += faults_of_broker(agent.broker)
    for camera in agent.cameras:
        problems += [f"cameras.{camera.name}.{fault}" for fault in faults_of_camera(camera)]
        if camera.line not in lines:
            problems.append(
                f'cameras.{camera.name}.line is "{camera.line}"; known lines are {", ".join(sorted(lines))}'
            )
        elif isinstance(camera.source, SteelLineSource) and lines[camera.line].simulator is None:
            problems.append(f'cameras.{camera.name} is a steel_line but line "{camera.line}" has no [simulator] table')
    refuse(path, problems)
    return agent, lines


def _lines(path: Path, files: tuple[str, ...]) -> dict[str, LineConfig]:
    lines: dict[str, LineConfig] = {}
    problems: list[str] = []
    for file in files:
        try:
            line = load_line(path.parent / file)
        except ConfigError as error:
            problems += error.problems
            continue
        if line.line in lines:
            problems.append(f'{path}: lines: two files describe line "{line.line}"')
        lines[line.line] = line
    if problems:
        raise ConfigError("\n".join(problems), problems=tuple(problems))
    return lines
