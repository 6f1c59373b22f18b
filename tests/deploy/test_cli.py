"""The root of the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy import cli


def _plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a command of the test's own behind the name `fleet`."""
    source = f"import typer\n{body}"
    (tmp_path / "planted_command.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "planted_command", raising=False)
    entry = cli._Entry("planted_command:app", "deploy", "planted")
    monkeypatch.setitem(cli.COMMANDS, "fleet", entry)


def test_help_names_every_command_and_loads_none_of_them() -> None:
    code = "import sys; from deploy.cli import main; status = main(['--help']); print(status, *sorted(sys.modules))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    help_text, _, loaded = answer.stdout.rstrip().rpartition("\n")
    status, *modules = loaded.split()
    assert status == "0"
    assert all(name in help_text for name in cli.COMMANDS)
    assert {"torch", "numpy", "onnxruntime", "matplotlib", "edge_agent", "trainer", "deploy.commands"}.isdisjoint(
        modules
    )


def test_every_command_of_the_table_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.COMMANDS:
        assert cli.main([name, "--help"]) == 0, name

        assert f"winnow {name}" in capsys.readouterr().out


def test_a_missing_module_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _plant(tmp_path, monkeypatch, "import no_such_library.part\napp = typer.Typer()")

    status = cli.main(["fleet", "status"])

    expected = (
        "winnow fleet: needs the extra [deploy] (module no_such_library is missing); pip install 'winnow[deploy]'\n"
    )
    assert (status, capsys.readouterr().err) == (1, expected)


def test_a_module_of_ours_that_is_missing_is_a_bug_and_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plant(tmp_path, monkeypatch, "import shared.no_such_part\napp = typer.Typer()")

    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        cli.main(["fleet"])


def test_an_error_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["release", "list", str(tmp_path / "nowhere.toml")])

    said = capsys.readouterr()
    assert (status, said.out) == (1, "")
    assert said.err.count("\n") == 1
    assert "nowhere.toml: No such file or directory" in said.err


def test_what_a_terminal_would_obey_in_an_error_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["experiment", "compare", str(tmp_path / "no\x1b[2Jpe")]) == 1

    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert r"no\x1b[2Jpe: no study.json" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-command"], "winnow: No such command 'no-such-command'; see winnow --help"),
        (["release", "list", "--no-such"], "winnow release list: No such option: --no-such"),
        (["release", "list"], "winnow release list: Missing argument 'SITE.toml'"),
        (["demo", "--rounds", "0"], "winnow demo: Invalid value for '--rounds'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2

    said = capsys.readouterr().err
    assert said.startswith(words)
    assert said.count("\n") == 1


def test_an_interrupt_is_status_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "app = typer.Typer()\n@app.callback(invoke_without_command=True)\ndef run() -> None:\n    raise KeyboardInterrupt"
    _plant(tmp_path, monkeypatch, body)

    assert cli.main(["fleet"]) == 130


def test_an_interrupt_while_a_command_loads_is_status_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _plant(tmp_path, monkeypatch, "raise KeyboardInterrupt")

    assert cli.main(["fleet"]) == 130


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ('OSError(28, "No space left on device")', "No space left on device"),
        ('PermissionError(13, "Permission denied", "/plate")', "/plate: Permission denied"),
    ],
)
def test_a_disk_that_refuses_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: str, words: str
) -> None:
    body = f"app = typer.Typer()\n@app.callback(invoke_without_command=True)\ndef run() -> None:\n    raise {error}"
    _plant(tmp_path, monkeypatch, body)

    assert cli.main(["fleet"]) == 1
    assert capsys.readouterr().err == f"winnow fleet: {words}; the command ends, what was written before stays\n"


def test_a_bug_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "app = typer.Typer()\n@app.callback(invoke_without_command=True)\ndef run() -> None:\n    raise ZeroDivisionError"
    _plant(tmp_path, monkeypatch, body)

    with pytest.raises(ZeroDivisionError):
        cli.main(["fleet"])
