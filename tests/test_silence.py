"""A plant's machines talk to its broker and its store: no library of ours reports to anybody else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: A session is what starts the reports of onnxruntime; its files are the id of the machine and what waits to be sent.
CODE = """
import importlib.abc, os, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Watch())
import {module}
import onnxruntime
from onnx import TensorProto, helper
node = helper.make_node("Relu", ["x"], ["y"])
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize(
    "module",
    [
        "edge_agent.inspection.runtime",
        "edge_agent.releases.trial",
        "trainer.release.parity",
        "trainer.release.precision",
        "deploy.cli",
    ],
)
@pytest.mark.parametrize(("given", "said"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "true"}, "true")])
def test_onnxruntime_reports_to_nobody_and_leaves_no_id_of_the_machine(
    module: str, given: dict[str, str], said: str, tmp_path: Path
) -> None:
    # Nothing of CI: there onnxruntime is silent by itself. If it were not silent here, its reports would end at once.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:1"}

    done = subprocess.run(
        [sys.executable, "-c", CODE.format(module=module)],
        env=environment | given,
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{said}\n", "")
    assert [path.name for path in tmp_path.rglob("*onnxruntime*")] == []
