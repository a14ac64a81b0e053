#!/usr/bin/env bash
# onnxruntime 1.32.0, GroupNormalization of opset 21 on the CPU: the variance is the mean of squares less the square of the
# mean, all in float32, as the operation's function in ONNX (1.23.2) has it. Of values around 10^4 with variance 1 nothing is
# left of it: where it comes out below 0 outputs are NaN, else they may be a thousand where 3 is right.
# InstanceNormalization of the same values, whose groups were made channels, is right to 0.002.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def computed(operation, x, channels, **attributes):
    names = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("x", "s", "b")]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node(operation, ["x", "s", "b"], ["y"], **attributes)
    graph = helper.make_graph([node], "g", names, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    return session.run(None, {"x": x, "s": ones, "b": zeros})[0]


x = (1e4 + np.random.default_rng(0).standard_normal((8, 4, 64))).astype(np.float32)
exact = x.astype(np.float64).reshape(8, 2, 128)
right = (exact - exact.mean(2, keepdims=True)) / np.sqrt(exact.var(2, keepdims=True) + 1e-5)
grouped = computed("GroupNormalization", x, 4, num_groups=2).reshape(8, 2, 128)
as_channels = computed("InstanceNormalization", x.reshape(8, 2, 128), 2)
numbers = np.isfinite(grouped).all(2)
print("groups that are no numbers       ", int((~numbers).sum()), "of", numbers.size)
print("largest error of the others      ", float(np.abs(grouped - right)[numbers].max()))
print("largest error of InstanceNorm     ", float(np.abs(as_channels - right).max()))
# Seen: 4 of 16, 1037, 0.0019.
assert (~numbers).any(), "the behaviour has changed"
assert np.abs(as_channels - right).max() < 0.01
PY
