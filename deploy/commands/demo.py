"""`winnow demo`: the whole loop on this machine, with a report at its end."""

import fcntl
import importlib.util
import json
import shutil
import signal
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from deploy.broker import find_mosquitto
from deploy.demo import profile as profiles
from deploy.demo.driver import run_demo
from deploy.demo.machine import machine_facts, package_versions
from deploy.demo.record import Record
from deploy.demo.summary import in_one_sentence, summarise
from deploy.demo.view import shown
from shared.clock import SystemClock
from shared.console import Console
from shared.errors import ConfigError
from shared.files import write_durably

app = typer.Typer(help="Run the whole loop on this machine and write a report.")

_MARK: Final = ".winnow-demo"
#: One module of each part that the demo's children need, and the extra that brings it.
_NEEDED: Final = (("onnxruntime", "cpu"), ("torch", "trainer"), ("sqlalchemy", "trainer"), ("matplotlib", "deploy"))


@app.callback(invoke_without_command=True)
def demo(
    *,
    out: Annotated[Path, typer.Option(help="The folder that everything is written to.")] = Path("demo-out"),
    summary_file: Annotated[Path | None, typer.Option("--json", help="Write the summary here as well.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another strip of steel.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="How many rounds to hold, the seed set's included.")] = 5,
    quick: Annotated[
        bool, typer.Option("--quick", help="Go through every part as fast as can be; the curves mean nothing.")
    ] = False,
) -> None:
    """Run three agents, a trainer and two random baselines, and write DIR/report.html."""
    _check_parts()
    find_mosquitto()
    profile = profiles.quick(seed) if quick else profiles.Profile(seed=seed, rounds=rounds)
    claim = _prepare(out)
    # Asked to end by a service manager, the demo ends its children in the same order as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    clock = SystemClock()
    began = clock.monotonic()
    with claim, shown(profile.rounds) as show:
        record = run_demo(profile, out, clock=clock, show=show)
        summary = _write(record, out, profile, lambda: clock.monotonic() - began)
    if summary_file is not None:
        write_durably(summary_file, _json(summary))
    Console().event("report", f"{in_one_sentence(summary)}\nreport: {out / 'report.html'}")


def _check_parts() -> None:
    missing = [(module, extra) for module, extra in _NEEDED if importlib.util.find_spec(module) is None]
    if missing:
        modules = ", ".join(module for module, _ in missing)
        extras = ",".join(dict.fromkeys(extra for _, extra in missing))
        raise ConfigError(
            f"winnow demo: needs the extra [{extras}] (missing: {modules}); pip install 'winnow[edge,trainer,deploy,cpu]'"
        )


def _prepare(out: Path) -> BinaryIO:
    """Take the folder for as long as the answer stays open; clear what an earlier demo left there, and nothing else."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out}: is a file; name a folder")
    mark = out / _MARK
    if out.exists() and any(out.iterdir()) and not mark.is_file():
        raise ConfigError(f"--out {out}: holds files that no demo wrote; name another folder or empty it")
    out.mkdir(parents=True, exist_ok=True)
    claim = mark.open("ab")
    try:
        # Released by the kernel, also when the demo is killed.
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        claim.close()
        raise ConfigError(f"--out {out}: another demo is writing there; wait for it or name another folder") from None
    for left in out.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left != mark:
            left.unlink()
    claim.truncate(0)
    claim.write(b"everything in this folder was written by winnow demo\n")
    claim.flush()
    return claim


def _write(record: Record, out: Path, profile: profiles.Profile, seconds: Any) -> dict[str, Any]:
    """Draw the pictures, write the summary and the report."""
    # matplotlib takes its time to load: the rounds need not wait for it.
    from deploy.demo.curves import draw_all  # heavy, and only needed here
    from deploy.demo.report import read_drawn, write_report  # imports the one above

    pictures = draw_all(record, profiles.class_names())
    for name, picture in pictures.items():
        write_durably(out / f"{name}.png", picture.light)
    facts = {"machine": machine_facts(), "versions": package_versions(), "settings": profiles.settings(profile)}
    summary = summarise(record, seed=profile.seed, seconds=seconds(), facts=facts)
    settings = (out / "site" / "steel.toml").read_text(encoding="utf-8")
    report = write_report(summary, pictures, read_drawn(out / "map"), settings=settings)
    write_durably(out / "report.html", report.encode())
    write_durably(out / "summary.json", _json(summary))
    return summary


def _json(summary: dict[str, Any]) -> bytes:
    return json.dumps(summary, indent=2).encode() + b"\n"
