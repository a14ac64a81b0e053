#!/usr/bin/env bash
# Keras 3, backend JAX with 64-bit floats enabled: ops.tanh and ops.average of a float64 tensor are float32, where
# sigmoid, exp, softmax, matmul and mean of it stay float64. Nothing is said, and "a recount in double" of a model with
# tanh is one in single. 2·sigmoid(2x) − 1 is tanh x, and stays in double.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.6.2 numpy==2.2.6
KERAS_BACKEND=jax JAX_ENABLE_X64=1 "$folder/venv/bin/python" - <<'PY' 2>/dev/null
import keras
import numpy as np
from keras import ops

x = ops.convert_to_tensor(np.array([0.1, 1 / 3]), dtype="float64")
found = {name: str(getattr(ops, name)(x).dtype) for name in ("tanh", "average", "sigmoid", "exp", "softmax", "mean")}
error = float(np.abs(np.asarray(ops.tanh(x), "float64") - np.tanh([0.1, 1 / 3])).max())
print("keras", keras.__version__, found, f"tanh is off by {error:.1e}")
# Seen: tanh and average float32, the others float64; tanh is off by 8.6e-09.
assert [name for name, kind in found.items() if kind == "float32"] == ["tanh", "average"], "the behaviour has changed"
assert error > 1e-10
PY
