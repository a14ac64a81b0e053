#!/usr/bin/env bash
# flwr 1.42.0 with ray 2.55.1: `import flwr.simulation`, which each process of a simulated run does, imports TensorFlow wherever it
# is installed, for apps of PyTorch and NumPy, too: 2 s and half a GB a process before anybody trains. What two
# frameworks in one process do to each other (threads, GPU memory, shared libraries) is then the app's to find out. Keep
# TensorFlow out of the environment of an app that does not use it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$@"; }
pip 'flwr[simulation]==1.42.0' ray==2.55.1
loaded() {
    FLWR_TELEMETRY_ENABLED=0 FLWR_HOME="$folder/home" "$folder/venv/bin/python" - 2>/dev/null <<'PY'
import resource, sys, time

start = time.process_time()
import flwr.simulation

memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{'tensorflow' in sys.modules} {time.process_time() - start:.1f} s {memory:.0f} MiB")
PY
}
before=$(loaded)
pip tensorflow-cpu==2.21.0
after=$(loaded)
echo "TensorFlow is loaded, processor time, memory: not installed $before; installed $after"
# Seen: False 0.9 s 121 MiB; True 2.9 s 597 MiB.
[[ $before = False* && $after = True* ]]
