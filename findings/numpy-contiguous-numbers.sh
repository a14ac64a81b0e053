#!/usr/bin/env bash
# NumPy 2.2.6 and 2.4.6, numpy.ascontiguousarray: an array without axes comes back with one. Its page says so ("ndim >= 1");
# `numpy.asarray(a, order="C")` keeps it. An index that says which step of a sequence is read so becomes a list of one, and
# a weight such as a temperature gets a shape that no state_dict has.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.2.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np

number = np.float32(2)
print("ascontiguousarray", np.ascontiguousarray(number).shape, "asarray", np.asarray(number, order="C").shape)
# Seen: ascontiguousarray (1,) asarray ()
assert np.ascontiguousarray(number).shape == (1,), "the behaviour has changed"
assert np.asarray(number, order="C").shape == ()
PY
