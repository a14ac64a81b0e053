#!/usr/bin/env bash
# Keras 3, backend TensorFlow: ops.add(x, b) of x (n, c, h, w) and b (1, c, 1, 1) adds b along the last axis, not along
# the channels, wherever w = c. It takes any b with one axis longer than 1 for a bias, squeezes it, and asks first
# whether it fits the last axis. Nothing is said. x + b of the same tensors broadcasts as everybody expects.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 numpy==2.2.6
KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PY' 2>/dev/null
import keras
import numpy as np
from keras import ops

x, b = np.zeros((1, 2, 2, 2), "float32"), np.array([1, 2], "float32").reshape(1, 2, 1, 1)
found = np.asarray(ops.add(ops.convert_to_tensor(x), ops.convert_to_tensor(b)))
right = np.asarray(ops.convert_to_tensor(x) + ops.convert_to_tensor(b))
print("keras", keras.__version__, "ops.add:", found.ravel().tolist(), "NumPy and +:", (x + b).ravel().tolist())
# Seen: ops.add gives 1, 2, 1, 2, … where 1, 1, 1, 1, 2, 2, 2, 2 is right.
assert (right == x + b).all()
assert not (found == x + b).all(), "the behaviour has changed"
PY
