"""What the machine is, and how much memory a tree of processes holds."""

from pathlib import Path

from deploy.demo.machine import machine_facts, memory_of_tree


def _process(proc: Path, pid: int, parent: int, kib: int, *, file: str = "smaps_rollup", key: str = "Pss:") -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "stat").write_text(f"{pid} (a (odd) name) S {parent} 1 1 0")
    (folder / file).write_text(f"header\n{key}    {kib} kB\n")


def test_the_memory_of_a_process_and_all_that_descend_from_it_is_added_up(tmp_path: Path) -> None:
    _process(tmp_path, 10, 1, 100)
    _process(tmp_path, 5, 10, 20)
    _process(tmp_path, 30, 5, 3, file="status", key="VmRSS:")
    _process(tmp_path, 40, 1, 1000)

    assert memory_of_tree(10, tmp_path) == 123 * 1024


def test_without_proc_there_is_no_figure(tmp_path: Path) -> None:
    assert memory_of_tree(10, tmp_path) == 0


def test_the_machine_is_described() -> None:
    assert {"processor", "cores used", "memory", "system", "python"} == set(machine_facts())
