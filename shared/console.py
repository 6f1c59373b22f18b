"""What a command says: sentences for people, JSON lines for machines.

Standard output carries the answer, one JSON object a line with ``--json``; everything else goes to standard
error. The one door to rich inside ``shared``.
"""

import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console as Rich
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from shared.clock import Clock, SystemClock

#: Wider than any listing.
_UNWRAPPED: Final = 10_000
#: Nobody follows a row that is wider, in a file or on a screen that wraps it.
_WIDEST: Final = 240
#: Long enough for a log of days to stay short, short enough for nobody to think that all hangs.
_EVERY_S: Final = 60.0


def plain(text: str, *, keep: str = "\n\t") -> str:
    """Write what a terminal would obey as an escape: a file may have any name, and a name may forge a line.

    Args:
        text: What is to be shown.
        keep: Control characters that stay.
    """
    if text.isprintable():
        return text
    shown = (sign if _is_shown(sign) or sign in keep else sign.encode("unicode_escape").decode() for sign in text)
    return "".join(shown)


def _is_shown(sign: str) -> bool:
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def roughly(seconds: float) -> str:
    """Write how long something takes as people say it."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"about {minutes} min"


class Step(Protocol):
    """Told how far a long piece of work is."""

    def __call__(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` are done."""


class Console:
    """The voice of one command."""

    def __init__(self, *, as_json: bool = False, clock: Clock | None = None) -> None:
        self.as_json = as_json
        self._clock = clock or SystemClock()
        self._out = Rich(emoji=False, highlight=False, soft_wrap=True)
        if not self._out.is_terminal:
            # What reads a pipe or a file wants a row on one line, however long.
            self._out.width = _UNWRAPPED
        self._err = Rich(emoji=False, stderr=True, highlight=False, soft_wrap=True)

    def event(self, name: str, text: str = "", **fields: object) -> None:
        """Tell one event: a JSON line for machines, ``text`` for people."""
        if self.as_json:
            sys.stdout.write(json.dumps({"event": name, **fields}) + "\n")
            sys.stdout.flush()
        elif text:
            self._out.print(plain(text), markup=False)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a listing: a table for people, one JSON object a row for machines."""
        if self.as_json:
            for row in rows:
                sys.stdout.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")
            sys.stdout.flush()
            return
        cells = [
            ["" if cell is None else plain(" ".join(str(cell).split("\n")), keep="") for cell in row] for row in rows
        ]
        table = Table(title=title, title_justify="left")
        for place, column in enumerate(columns):
            # Only sentences give way: a name in two pieces cannot be copied, a number in two reads as two numbers.
            table.add_column(column, overflow="fold", no_wrap=not any(" " in row[place] for row in cells))
        for row in cells:
            # What stands in brackets is an operator's word, not a style.
            table.add_row(*(escape(cell) for cell in row))
        needs = self._out.measure(table, options=self._out.options.update(width=_UNWRAPPED))
        # A terminal's table may wrap its sentences, another's rows stay on one line.
        if needs.minimum <= self._out.width if self._out.is_terminal else needs.maximum <= _WIDEST:
            self._out.print(table, soft_wrap=False)
            return
        # Too wide to read side by side: the facts of a row follow each other.
        self._out.print(title, markup=False, style="italic")
        for name, *rest in cells:
            facts = [(column, cell) for column, cell in zip(columns[1:], rest, strict=True) if cell]
            told = ", ".join(f"{column} {cell}" if len(columns) > 2 else cell for column, cell in facts)
            self._out.print(f"- {name}: {told}", markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Say what was dropped or is odd."""
        self._err.print(plain(text), markup=False, style="yellow")

    @contextmanager
    def progress(self, name: str, **fields: object) -> Iterator[Step]:
        """Show long work: a bar with the time left for people, a line a minute in a log, ``progress`` events for machines."""
        if self.as_json:
            yield self._progress_events(name, fields)
            return
        if not self._err.is_terminal:
            yield self._progress_lines(name)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._err, transient=True) as bar:
            task = bar.add_task(name, total=None)

            def step(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            yield step

    def _progress_events(self, name: str, fields: dict[str, object]) -> Step:
        last = -1

        def step(done: int, total: int) -> None:
            nonlocal last
            percent = 100 * done // max(total, 1)
            if percent != last:
                last = percent
                self.event("progress", "", work=name, done=done, total=total, **fields)

        return step

    def _progress_lines(self, name: str) -> Step:
        begun = told = self._clock.monotonic()
        at_first: int | None = None

        def step(done: int, total: int) -> None:
            nonlocal at_first, told
            # What an earlier run had done says nothing of this one's pace.
            at_first = done if at_first is None else at_first
            now = self._clock.monotonic()
            if now - told < _EVERY_S or done >= total:
                return
            told = now
            left = ""
            if done > at_first:
                left = f", {roughly((total - done) * (now - begun) / (done - at_first))} left"
            self._err.print(plain(f"{name}: {100 * done // total} %{left}"), markup=False)

        return step
