#!/usr/bin/env bash
# onnxruntime 1.32 on a CPU: Sigmoid is right to about 1e-7 in absolute terms only, so that small results have no right
# digit; 1 / (1 + exp(-x)) of the same library has them all. MaxPool loses what is no number: of a window that holds NaN it
# gives the largest of the others, or NaN, as they stand in it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def run(operation, x, **attributes):
    node = helper.make_node(operation, ["x"], ["y"], **attributes)
    described = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    graph = helper.make_graph([node], "g", described, [helper.make_empty_tensor_value_info("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


x = np.linspace(-30, 0, 4001, dtype=np.float32)
exact = 1 / (1 + np.exp(-x.astype(np.float64)))
relative = np.abs(run("Sigmoid", x) - exact) / exact
composed = np.abs(1 / (1 + run("Exp", -x).astype(np.float64)) - exact) / exact
worst = relative.argmax()
print("onnxruntime", onnxruntime.__version__, "sigmoid is off by", relative[worst], "of it at", x[worst])
print("at -10 and above by", relative[x >= -10].max(), "and made of its exp by", composed.max())
windows = np.array([[[[np.nan, 1.0, 1.0, np.nan]]]], np.float32)
pooled = run("MaxPool", windows, kernel_shape=[1, 2], strides=[1, 2])
print("largest of", windows.ravel(), "in twos:", pooled.ravel())
# Seen: 4.3 at -17.9, 1e-3 or so at -10, 1e-7 by exp; of one window with NaN a number, where NumPy and PyTorch have NaN.
assert relative[worst] > 0.5 and composed.max() < 1e-6, "the behaviour has changed"
assert not np.isnan(pooled).all(), "the behaviour has changed"
PY
