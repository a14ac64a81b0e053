#!/usr/bin/env bash
# flwr 1.42.0, numpy 2.4.6, FedAvg: the mean of equal arrays is not that array. Clients that return a frozen layer as they got it
# get another one in the next round: three clients of one weight move 30% of its float32 numbers by a last bit, since each is
# multiplied by 1/3 and the three are added. A digest of frozen layers, or "nobody has touched this" by equality with
# the run's beginning, fails from round 2 on. Integers, as BatchNorm's num_batches_tracked, become float64 besides.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check flwr==1.42.0 numpy==2.4.6
FLWR_TELEMETRY_ENABLED=0 FLWR_HOME="$folder/home" "$folder/venv/bin/python" - <<'PY'
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity

TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
layer = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
counter = np.array(7)
replies = []
for node in (1, 2, 3):
    sent = Message(RecordDict({"config": ConfigRecord({"server-round": 1})}), dst_node_id=node, message_type="train")
    arrays = ArrayRecord({"frozen": Array(layer), "num_batches_tracked": Array(counter)})
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 10})})
    replies.append(Message(content, reply_to=sent))
made, _ = FedAvg().aggregate_train(1, replies)
after = made["frozen"].numpy()
moved = int((after != layer).sum())
print(f"of 1000 numbers that all clients share {moved} moved, by {abs(after / layer - 1).max():.1e} at most")
print("num_batches_tracked:", counter.dtype, "->", made["num_batches_tracked"].numpy().dtype)
# Seen: 304 moved, by 1.2e-07 at most; int64 -> float64.
assert moved == 304, "the behaviour has changed"
assert made["num_batches_tracked"].numpy().dtype == np.float64
PY
