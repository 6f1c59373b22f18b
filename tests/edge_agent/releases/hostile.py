"""Graphs that take their process down, never answer or ask for everything."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def graph_of(nodes: list[object], constants: list[object], functions: tuple[object, ...] = ()) -> bytes:
    """Make a model with the task graph's input and output around any nodes."""
    tiles = helper.make_tensor_value_info("tiles", TensorProto.UINT8, ("n", 64, 64, 1))
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ("n", 2, 2))
    model = helper.make_model(
        helper.make_graph(nodes, "hostile", [tiles], [score], constants),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("nest", 1)],
        ir_version=10,
        functions=functions,
    )
    data: bytes = model.SerializeToString()
    return data


#: From the tiles to four means: what the hostile graphs do before they turn.
POOL = [
    helper.make_node("Cast", ["tiles"], ["floats"], to=TensorProto.FLOAT),
    helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
    helper.make_node("AveragePool", ["planes"], ["pooled"], kernel_shape=[32, 32], strides=[32, 32]),
    helper.make_node("Squeeze", ["pooled", "one"], ["means"]),
]
ONE = numpy_helper.from_array(np.array([1], np.int64), "one")


def nested_functions(depth: int) -> bytes:
    """Functions that call each other deeper than a stack: onnxruntime dies of it."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("nest", 1)]
    functions = []
    for level in range(depth):
        inner = (
            helper.make_node("Identity", ["x"], ["y"])
            if level == depth - 1
            else helper.make_node(f"f{level + 1}", ["x"], ["y"], domain="nest")
        )
        functions.append(helper.make_function("nest", f"f{level}", ["x"], ["y"], [inner], opsets))
    nodes = [*POOL, helper.make_node("f0", ["means"], ["score"], domain="nest")]
    return graph_of(nodes, [ONE], tuple(functions))


def endless() -> bytes:
    """A loop of 2^62 turns."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["going"]), helper.make_node("Sin", ["x"], ["x2"])],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("going", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("x2", TensorProto.FLOAT, None),
        ],
    )
    constants = [
        ONE,
        numpy_helper.from_array(np.array(1 << 62, np.int64), "turns"),
        numpy_helper.from_array(np.array([True]).reshape(()), "yes"),
    ]
    return graph_of([*POOL, helper.make_node("Loop", ["turns", "yes", "means"], ["score"], body=body)], constants)


def greedy() -> bytes:
    """An expansion to 160 GB, and back to four numbers."""
    constants = [ONE, numpy_helper.from_array(np.array([5000, 10_000, 100, 1, 1, 1], np.int64), "vast")]
    nodes = [
        *POOL,
        helper.make_node("Expand", ["means", "vast"], ["everything"]),
        helper.make_node("ReduceMean", ["everything"], ["mean"], keepdims=0),
        helper.make_node("Add", ["means", "mean"], ["score"]),
    ]
    return graph_of(nodes, constants)
