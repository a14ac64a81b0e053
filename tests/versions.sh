#!/usr/bin/env bash
# The suite on the ends of what pyproject.toml admits: Python 3.11 with the lowest and with the newest dependencies, and
# another Python, by its version or path, with the newest: `tests/versions.sh 3.13 [PYTEST_ARGUMENT…]`. uv makes an
# environment each under build/versions. All three are tried whatever one of them says; the exit code is 1 when any fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
newest=${1:?which Python is the newest, for example 3.13}
shift

failed=0
for ends in "3.11 lowest-direct" "3.11 highest" "$newest highest"; do
    read -r python resolution <<<"$ends"
    place=build/versions/${python//\//_}-$resolution
    echo "== Python $python, $resolution dependencies"
    uv venv --quiet --clear --python "$python" "$place" &&
        uv pip install --quiet --python "$place/bin/python" --resolution "$resolution" \
            --editable ".[${EXTRAS:-mine-cpu},dev]" &&
        "$place/bin/python" -m pytest "$@" || failed=1
done
exit "$failed"
