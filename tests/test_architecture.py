"""The house keeps its shape: layers, one door per library, no pickle, time behind its clock."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("shared", "edge_agent", "trainer", "deploy")

#: Who may import which library: files, or folders ending in a slash. Anything else that is not of the standard
#: library has no door and is refused until it gets one here.
DOORS: dict[str, tuple[str, ...]] = {
    "PIL": ("shared/images.py",),
    "alembic": ("trainer/pool/",),
    "av": ("edge_agent/inspection/cameras/footage.py",),
    "cv2": ("trainer/experiment/superpixels.py",),
    "dppy": ("trainer/selection/samplers/dppy.py",),
    "fastapi": ("trainer/web/",),
    "matplotlib": ("deploy/demo/", "trainer/plotting.py"),
    "onnx": ("trainer/release/graph.py", "trainer/release/precision.py"),
    "onnxruntime": (
        "edge_agent/inspection/runtime.py",
        "trainer/release/parity.py",
        "trainer/release/precision.py",
    ),
    "paho": ("shared/mqtt.py",),
    "rich": ("shared/console.py", "deploy/demo/"),
    "safetensors": ("trainer/learning/", "trainer/representation/"),
    "segmentation_models_pytorch": ("trainer/learning/", "trainer/representation/"),
    "sklearn": ("trainer/experiment/", "trainer/selection/"),
    "sqlalchemy": ("trainer/pool/",),
    "starlette": ("trainer/web/",),
    "threadpoolctl": ("trainer/selection/", "trainer/learning/"),
    "timm": ("trainer/learning/", "trainer/representation/"),
    "torch": ("trainer/",),
    "torchvision": ("trainer/",),
    "typer": (
        "deploy/cli.py",
        "deploy/commands/",
        "edge_agent/cli.py",
        "trainer/cli.py",
        "trainer/commands/",
        "trainer/rounds/__main__.py",
    ),
    "umap": ("trainer/representation/layout.py",),
    "uvicorn": ("trainer/web/",),
    # The standard library's own ways to the disk and the network.
    "http": ("shared/fetcher.py",),
    "sqlite3": ("edge_agent/", "trainer/pool/"),
    "urllib": ("edge_agent/inspection/cameras/rtsp.py", "shared/fetcher.py"),
}
#: Libraries that are our language: everywhere in their packages.
LANGUAGE = {"msgspec": PACKAGES, "numpy": PACKAGES, "scipy": ("trainer",)}
#: What can run code when it is read.
UNSAFE = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
#: Where time is read and waited for.
CLOCK = "shared/clock.py"


def sources(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Walk every imported top-level name of a file, wherever in the file it is imported."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Walk every call of a dotted name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


def allowed(library: str, file: str) -> bool:
    if library in DOORS:
        return any(file.startswith(door) if door.endswith("/") else file == door for door in DOORS[library])
    if library in LANGUAGE:
        return file.split("/", maxsplit=1)[0] in LANGUAGE[library]
    return library in sys.stdlib_module_names or library in PACKAGES


def test_the_layers_hold() -> None:
    lint = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert "1 kept, 0 broken" in lint.stdout


def test_every_library_is_imported_at_its_door_only() -> None:
    strays = [
        f"{name_of(file)}:{line}: {library}"
        for file in sources(*PACKAGES)
        for library, line in imports(file)
        if not allowed(library, name_of(file))
    ]

    assert strays == []


def test_nothing_that_can_run_code_is_ever_read() -> None:
    found = [
        f"{name_of(file)}:{line}: {library}"
        for file in sources(*PACKAGES, "tests", "benchmarks", "tools")
        for library, line in imports(file)
        if library in UNSAFE
    ]
    for file in sources(*PACKAGES, "benchmarks"):
        for name, call in calls(file):
            unpickles = any(
                word.arg == "allow_pickle" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                for word in call.keywords
            )
            if unpickles or name in {"torch.load", "torch.save", "eval", "exec"}:
                found.append(f"{name_of(file)}:{call.lineno}: {name}")

    assert found == []


def test_time_is_read_at_the_clock_only() -> None:
    readers = {"time.time", "time.monotonic", "time.sleep", "datetime.now", "datetime.datetime.now", "datetime.utcnow"}
    found = [
        f"{name_of(file)}:{call.lineno}: {name}"
        for file in sources(*PACKAGES)
        for name, call in calls(file)
        if name in readers and name_of(file) != CLOCK
    ]

    assert found == []


def test_no_test_sleeps() -> None:
    found = [
        f"{name_of(file)}:{call.lineno}"
        for file in sources("tests")
        for name, call in calls(file)
        if name.split(".")[-1] == "sleep"
    ]

    assert found == []


def test_no_command_goes_through_a_shell() -> None:
    found = [
        f"{name_of(file)}:{call.lineno}: {name}"
        for file in sources(*PACKAGES, "benchmarks", "tools")
        for name, call in calls(file)
        if name in {"os.system", "os.popen"} or any(word.arg == "shell" for word in call.keywords)
    ]

    assert found == []


def test_no_file_grows_past_understanding() -> None:
    found = {
        name_of(file): length
        for file in sources(*PACKAGES, "benchmarks", "tools")
        if (length := len(file.read_text(encoding="utf-8").splitlines())) > 400
    }

    assert found == {}


@pytest.mark.parametrize("word", ["utils", "util", "helpers", "common", "manager", "base", "misc"])
def test_no_file_is_named_after_nothing(word: str) -> None:
    assert [name_of(file) for file in sources(*PACKAGES) if word in {file.stem, file.parent.name}] == []


def test_nothing_names_the_place_where_it_was_built() -> None:
    # Spelt in two halves so that this file does not find itself.
    words = ["/wo" + "rk/", "../sha" + "red", "/opt/py" + "pi"]
    found = []
    for file in files_of_the_tree():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name_of(file)}: {word}" for word in words if word in text]

    assert found == []


@pytest.mark.parametrize("module", ["deploy.cli", "trainer.cli", "edge_agent.cli"])
def test_a_command_line_answers_without_the_heavy_libraries(module: str) -> None:
    heavy = ["torch", "onnxruntime", "matplotlib", "sqlalchemy", "sklearn", "umap", "fastapi"]
    code = f"import sys, {module}; print(*sorted({{*sys.modules}} & {set(heavy)}))"

    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert answer.stdout.split() == []


def files_of_the_tree() -> Iterator[Path]:
    """Walk what belongs to the project: no environment, no caches, no output."""
    made = {"demo-out", "build", "dist", "__pycache__"}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in made and not name.endswith(".egg-info") and (not name.startswith(".") or name == ".ci")
        ]
        yield from (Path(folder) / name for name in files)
