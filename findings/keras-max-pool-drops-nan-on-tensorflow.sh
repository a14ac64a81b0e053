#!/usr/bin/env bash
# Keras 3, ops.max_pool of a tensor with NaN, on a CPU: on TensorFlow the window that holds it gives its largest number, as
# if NaN were not there, on JAX it gives NaN. So one model says something else of the same input on each: a network whose
# values have become NaN answers with numbers on one backend. ops.maximum gives NaN on both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 tensorflow-cpu==2.21.0 jax==0.6.2
for backend in tensorflow jax; do
    KERAS_BACKEND=$backend "$folder/venv/bin/python" - "$backend" <<'PY' 2>/dev/null
import sys

import keras
import numpy as np
from keras import ops

x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
x[0, 0, 0, 0] = np.nan
pooled = ops.convert_to_numpy(ops.max_pool(ops.convert_to_tensor(x), 2, 2)).ravel().tolist()
larger = float(ops.convert_to_numpy(ops.maximum(ops.convert_to_tensor(np.float32("nan")), 1.0)))
print("keras", keras.__version__, sys.argv[1], "max_pool", pooled, "maximum(nan, 1)", larger)
# Seen: 5.0, 7.0, 13.0, 15.0 on TensorFlow and nan, 7.0, 13.0, 15.0 on JAX.
assert np.isnan(larger)
assert np.isnan(pooled[0]) == (sys.argv[1] == "jax"), "the behaviour has changed"
assert pooled[1:] == [7.0, 13.0, 15.0]
PY
done
