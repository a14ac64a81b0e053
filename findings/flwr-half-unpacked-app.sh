#!/usr/bin/env bash
# flwr 1.42.0, flwr.cli.install.install_from_fab, which every ServerApp and ClientApp process calls: an app is unpacked
# straight into $FLWR_HOME/apps/NAME, and who finds that folder takes the app for installed. Two SuperNodes that share a
# home and get their first message at once may load half of it, and a process that is killed meanwhile leaves a half that
# fails ever after. A FLWR_HOME of its own for each SuperNode avoids the first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check flwr==1.42.0
mkdir -p "$folder/source/app"
cat > "$folder/source/pyproject.toml" <<'TOML'
[project]
name = "half"
version = "1.0.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "somebody"
[tool.flwr.app.components]
serverapp = "app.server:app"
clientapp = "app.client:app"
TOML
touch "$folder/source/app/__init__.py" "$folder/source/app/server.py" "$folder/source/app/client.py"
FLWR_HOME="$folder/home" "$folder/venv/bin/python" - "$folder/source" <<'PY'
import sys
from pathlib import Path

from flwr.cli.build import build_fab_from_disk
from flwr.cli.install import install_from_fab

fab = build_fab_from_disk(Path(sys.argv[1]))
place = install_from_fab(fab, skip_prompt=True)
whole = sorted(str(file.relative_to(place)) for file in place.rglob("*.py"))
for file in place.rglob("*.py"):
    file.unlink()  # as far as another process had come
again = install_from_fab(fab, skip_prompt=True)
left = sorted(str(file.relative_to(again)) for file in again.rglob("*.py"))
print("unpacked  ", whole)
print("once more ", left)
# Seen: the three files; then none, and no error.
assert len(whole) == 3
assert again == place
assert left == [], "the behaviour has changed"
PY
