#!/usr/bin/env bash
# safetensors 0.8.0, safetensors.numpy.save_file: an array that is a strided view (a transpose, say) is stored as the
# memory behind it under the view's shape. Nothing is raised; what is read back has the right shape and other values.
# A client that stores a transposed kernel so signs for weights that it never had. numpy.ascontiguousarray avoids it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.2.6
"$folder/venv/bin/python" - "$folder/view.safetensors" <<'PY'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

path, kernel = sys.argv[1], np.arange(6, dtype="float32").reshape(2, 3)
save_file({"view": kernel.T, "copy": np.ascontiguousarray(kernel.T)}, path)
read = load_file(path)
print("wanted", kernel.T.tolist())
print("view  ", read["view"].tolist())
print("copy  ", read["copy"].tolist())
# Seen: wanted [[0, 3], [1, 4], [2, 5]]; view [[0, 1], [2, 3], [4, 5]]; copy [[0, 3], [1, 4], [2, 5]].
assert read["copy"].tolist() == kernel.T.tolist()
assert read["view"].tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "the behaviour has changed"
PY
