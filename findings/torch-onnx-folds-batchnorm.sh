#!/usr/bin/env bash
# PyTorch 2.13, torch.onnx.export with its defaults: BatchNorm is folded into the convolution before it although the
# convolution keeps its names. "conv.weight" in the file is then another tensor than "conv.weight" in the state_dict,
# and nothing says so but the node's metadata. With optimize=False every tensor is as the module has it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY' 2>/dev/null
import numpy as np
import torch
from onnx import numpy_helper

torch.manual_seed(1)
model = torch.nn.Sequential()
model.add_module("conv", torch.nn.Conv2d(1, 4, 3))
model.add_module("bn", torch.nn.BatchNorm2d(4))
torch.nn.init.uniform_(model.bn.weight, 2.0, 3.0)
model.eval()
own = model.conv.weight.detach().numpy()


def exported(**settings):
    program = torch.onnx.export(model, (torch.zeros(2, 1, 8, 8),), dynamo=True, verbose=False, **settings)
    return {one.name: numpy_helper.to_array(one) for one in program.model_proto.graph.initializer}


default, kept = exported(), exported(optimize=False)
print("torch", torch.__version__, "by default:", sorted(default), "with optimize=False:", sorted(kept))
print("conv.weight is the module's:", np.array_equal(default["conv.weight"], own), np.array_equal(kept["conv.weight"], own))
# Seen: by default conv.bias and conv.weight alone, which is another; with optimize=False all six, as the module's.
assert "bn.weight" not in default and not np.array_equal(default["conv.weight"], own), "the behaviour has changed"
assert np.array_equal(kept["conv.weight"], own) and "bn.running_var" in kept
PY
