"""The machine a demo ran on: what it is, and how much memory the demo's processes hold together."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

from shared.processor import processor_name, usable_cores

_PACKAGES: Final = (
    "winnow",
    "numpy",
    "onnxruntime",
    "paho-mqtt",
    "segmentation-models-pytorch",
    "torch",
    "umap-learn",
)
_KIB: Final = 1024


def machine_facts() -> dict[str, str]:
    """Describe the machine in words."""
    return {
        "processor": processor_name(),
        "cores used": str(usable_cores()),
        "memory": f"{_memory_total() / 2**30:.1f} GiB" if _memory_total() else "unknown",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def package_versions() -> dict[str, str]:
    """Name the versions of what the run stands on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def memory_of_tree(root: int, proc: Path = Path("/proc")) -> int:
    """Add up the proportional memory of a process and all that descend from it, in bytes; 0 where /proc is not."""
    parents: dict[int, int] = {}
    for folder in proc.glob("[0-9]*"):
        try:
            # The name between the brackets may hold anything; the parent stands second behind it.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
    family = {root}
    # Children may have lower numbers than their parents: walk until nothing is added.
    while True:
        found = {pid for pid, parent in parents.items() if parent in family} - family
        if not found:
            break
        family |= found
    return sum(_held(proc / str(pid)) for pid in family)


def _held(folder: Path) -> int:
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = (folder / name).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1]) * _KIB
    return 0


def _memory_total() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
