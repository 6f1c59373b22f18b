"""The live view: where every node and every round stands. Drawn from the record; the door to rich for the demo."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from deploy.demo.record import Record, RolloutRecord, RoundRecord

#: What the last round's baselines, the map and the report still take, measured on two cores.
_TAIL_S = 25.0


@contextmanager
def shown(rounds: int) -> Iterator[Callable[[Record, float], None]]:
    """Show a demo as it goes: a living table on a terminal, a line per change elsewhere."""
    console = Console(highlight=False)
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Live(console=console, refresh_per_second=4, transient=False) as live:

        def show(record: Record, now: float) -> None:
            live.update(render(record, now, rounds))

        yield show


def render(record: Record, now: float, rounds: int) -> RenderableType:
    """Draw one moment of a demo."""
    notes = [Text(f"  {clock_face(at)}  {text}", style="yellow") for at, text in record.notes[-3:]]
    return Panel(
        Group(_headline(record, now, rounds), "", _nodes(record), "", _rounds(record), *notes),
        title="winnow demo",
        title_align="left",
        border_style="dim",
    )


def seconds_left(record: Record, now: float, rounds: int) -> float | None:
    """Estimate the time left from the rounds that are over; None before the first one is."""
    over = [round_.done_at for round_ in record.rounds_in_order() if round_.done_at is not None]
    if not over or 0 not in record.rounds:
        return None
    began = min(record.rounds[0].stages.get("collect", over[0]), over[0])
    each = (over[-1] - began) / len(over)
    left = (rounds - len(over)) * each - (now - over[-1]) if len(over) < rounds else over[-1] - now
    return max(0.0, left) + (_TAIL_S if len(over) < rounds else max(0.0, _TAIL_S + min(0.0, left)))


def clock_face(seconds: float) -> str:
    """Write a duration as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def number(value: float | None) -> str:
    """Write an mIoU, or a dash where none is."""
    return "-" if value is None or value != value else f"{value:.3f}"  # noqa: PLR0124  # nan is unlike itself


def _headline(record: Record, now: float, rounds: int) -> Text:
    text = Text(clock_face(now), style="bold")
    text.append(f"   {record.stage}", style="bold cyan")
    if record.work is not None:
        work, done, total = record.work
        filled = 20 * done // max(total, 1)
        text.append(f"   {work} ", style="none")
        text.append("━" * filled, style="cyan")
        text.append("━" * (20 - filled), style="dim")
        text.append(f" {done}/{total}", style="none")
    left = seconds_left(record, now, rounds)
    if left is not None:
        text.append(f"   about {clock_face(left)} left", style="dim")
    return text


def _nodes(record: Record) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("node")
    for column in ("frames", "patches seen", "sent", "kB sent", "spooled"):
        table.add_column(column, justify="right")
    table.add_column("runs")
    table.add_column("")
    for name, node in sorted(record.nodes.items()):
        traffic = node.traffic
        table.add_row(
            Text(name, style="bold" if node.online else "dim"),
            f"{traffic.frames:,}",
            f"{traffic.patches:,}",
            f"{traffic.sent:,}",
            f"{traffic.bytes_sent / 1000:,.0f}",
            f"{node.last_beat.get('spooled', 0):,}",
            node.release or "no release",
            Text(node.state if node.online else "offline", style="dim"),
        )
    return table


def _rounds(record: Record) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("round")
    for column in ("labels", "mIoU winnow", "random stream", "random pool"):
        table.add_column(column, justify="right")
    table.add_column("release")
    table.add_column("rollout")
    for round_ in record.rounds_in_order():
        release = release_of(record, round_.number)
        table.add_row(
            str(round_.number),
            "-" if round_.labels is None else str(round_.labels),
            Text(_miou(round_, "winnow"), style="bold"),
            _miou(round_, "random_stream"),
            _miou(round_, "random_pool"),
            release or ("kept back" if round_.gate and not round_.gate["passed"] else "-"),
            rollout_words(record.rollouts.get(release or "")),
        )
    return table


def release_of(record: Record, round_number: int) -> str | None:
    """Name the newest release that came out of a round."""
    found = [name for name, fields in record.releases.items() if fields.get("round") == round_number]
    return max(found, default=None)


def rollout_words(rollout: RolloutRecord | None) -> str:
    """Say where a rollout is."""
    if rollout is None:
        return ""
    if rollout.error is not None:
        return "left out" if "newer release" in rollout.error else f"stopped: {rollout.error}"
    words = f"{len(rollout.done)} of {rollout.meant} nodes"
    return f"{words}, {rollout.ended - rollout.began:.0f} s" if rollout.ended is not None else words


def _miou(round_: RoundRecord, arm: str) -> str:
    return number(round_.arms[arm].miou) if arm in round_.arms else "-"


class _Lines:
    """The view where there is no terminal: one line whenever something of note has happened."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()

    def __call__(self, record: Record, now: float) -> None:
        """Print what was not printed yet."""
        for line in _lines(record):
            if line not in self._said:
                self._said.add(line)
                self._console.print(f"[{clock_face(now):>5}] {line}", markup=False, soft_wrap=True)


def _lines(record: Record) -> Iterator[str]:
    yield from (text for _, text in record.notes)
    for round_ in record.rounds_in_order():
        for stage in round_.stages:
            yield f"round {round_.number}: {stage}"
        release = release_of(record, round_.number)
        if release is not None:
            yield f"round {round_.number}: released {release}"
        rollout = record.rollouts.get(release or "")
        if rollout is not None and rollout.ended is not None:
            yield f"rollout of {release}: {rollout_words(rollout)}"
        if round_.answered:
            yield (
                f"round {round_.number}: {round_.labels} labels, mIoU winnow {_miou(round_, 'winnow')}, "
                f"random stream {_miou(round_, 'random_stream')}, random pool {_miou(round_, 'random_pool')}"
            )
