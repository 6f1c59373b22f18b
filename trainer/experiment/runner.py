"""A study over its seeds: one after the other here, or several at once in child processes of the same command."""

import platform
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final

import numpy as np
import torch

from shared.clock import SystemClock
from shared.console import Console
from shared.errors import ConfigError, StateError
from shared.processor import processor_name, usable_cores
from trainer.experiment.grounds import lay_ground, open_data
from trainer.experiment.noise import measure_noise
from trainer.experiment.page import write_report
from trainer.experiment.recipe import load_recipe
from trainer.experiment.study import Study

_END_WITHIN_S: Final = 20.0


def run(
    path: Path,
    *,
    data: Path | None,
    out: Path,
    seeds: Sequence[int] | None,
    jobs: int,
    console: Console,
    arms: Sequence[str] | None = None,
) -> None:
    """Hold every round of a recipe that ``out`` does not hold yet, of some arms or of all, and write its report."""
    study = _study(path, data=data, out=out, console=console, arms=arms)
    chosen = tuple(study.recipe.seeds if seeds is None else seeds)
    ground = study.prepare()
    try:
        if jobs > 1 and len(chosen) > 1:
            # The children read the images themselves.
            del ground
            _in_children(study, path, seeds=chosen, jobs=jobs)
        else:
            for seed in chosen:
                study.run_seed(ground, seed)
    except KeyboardInterrupt:
        console.warn(
            f"{study.folder}: interrupted; finished rounds are kept there, run the same command again to go on"
        )
        raise
    written = write_report(study.folder)
    console.event("report", f"{written}: the report", path=str(written), study=study.name, seeds=list(chosen))


def run_one(
    path: Path, *, data: Path | None, out: Path, seed: int, console: Console, arms: Sequence[str] | None = None
) -> None:
    """Hold the rounds of one seed, and leave the report to the parent."""
    study = _study(path, data=data, out=out, console=console, arms=arms)
    study.run_seed(study.prepare(), seed)


def tell_noise(
    path: Path, *, data: Path | None, out: Path, labels: Sequence[int], repeats: int, seed: int, console: Console
) -> None:
    """Train again and again on one labelled set of each size, and tell how far the values differ."""
    recipe = load_recipe(path)
    with console.progress("read images") as step:
        opened = open_data(recipe, data, work=out / "unpacked", step=step)
        ground = lay_ground(recipe, opened, step=step)
    if ground.begin is not None:
        with console.progress("learn what encoders begin with") as step:
            ground.begin(step, None)
    with console.progress("train", recipe=path.stem) as step:
        for found in measure_noise(ground, labels, repeats=repeats, seed=seed, step=step):
            console.event(
                "noise",
                f"{found.labels} labels: {found.mean:.3f} +- {found.sd:.3f} over {repeats} trainings",
                recipe=path.stem,
                recipe_hash=recipe.hash,
                machine=machine(),
                labels=found.labels,
                values=list(found.values),
                mean=found.mean,
                sd=found.sd,
            )


def _study(path: Path, *, data: Path | None, out: Path, console: Console, arms: Sequence[str] | None = None) -> Study:
    only = None if arms is None else tuple(arms)
    return Study(path.stem, load_recipe(path), data, out, console, SystemClock(), machine(), only)


def read_seeds(text: str) -> tuple[int, ...]:
    """Read ``0,1,2``."""
    return _read_numbers("--seeds", text, least=0, most=2**32 - 1)


def read_labels(text: str) -> tuple[int, ...]:
    """Read ``60,360``."""
    return _read_numbers("--labels", text, least=1, most=10**9)


def _read_numbers(option: str, text: str, *, least: int, most: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    inside = all(least <= number <= most for number in numbers)
    if not numbers or not inside or len(set(numbers)) < len(numbers):
        raise ConfigError(
            f'{option} "{text[:60]}": expected different whole numbers from {least} to {most}, as in {least},{least + 1},{least + 2}'
        )
    return numbers


def machine() -> str:
    """Name what a number came from: the device and the versions that compute."""
    cpu = f"{processor_name()}, {usable_cores()} cores"
    device = f"{torch.cuda.get_device_name()}, {cpu}" if torch.cuda.is_available() else cpu
    return f"{platform.system()} {device}, python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"


def _in_children(study: Study, path: Path, *, seeds: Sequence[int], jobs: int) -> None:
    """Give each seed a process; after a failure none is started, and whatever ends this one ends them.

    A pair of sockets joins each to this process. The kernel closes an end with its owner, however that ended: so the
    one that ends first is found at once, and a child whose parent was killed ends as well.
    """
    waiting = list(seeds)
    running: dict[socket.socket, tuple[int, subprocess.Popen[bytes]]] = {}
    failed: dict[int, int] = {}
    try:
        while (waiting and not failed) or running:
            while waiting and not failed and len(running) < jobs:
                seed = waiting.pop(0)
                ours, theirs = socket.socketpair()
                with theirs:
                    words = [*_command(study, path, seed=seed), str(theirs.fileno())]
                    running[ours] = seed, subprocess.Popen(words, pass_fds=(theirs.fileno(),))
            for ended in wait(list(running)):
                assert isinstance(ended, socket.socket)
                seed, child = running[ended]
                if status := child.wait():
                    failed[seed] = status
                del running[ended]
                ended.close()
    finally:
        _end([child for _, child in running.values()])
        for ours in running:
            ours.close()
    if failed:
        seed, status = next(iter(failed.items()))
        raise StateError(
            f"seed {seed}: its process ended with {status}, see above; run again to go on with what is done"
        )


def _command(study: Study, path: Path, *, seed: int) -> list[str]:
    data, arms = "" if study.data is None else str(study.data), ",".join(study.only or ())
    words = [str(path), data, str(study.out), str(seed), "json" if study.console.as_json else "text", arms]
    return [sys.executable, "-m", "trainer.experiment", *words]


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
