#!/usr/bin/env bash
# pytest: where `parametrize(ids=FUNCTION)` gives a name with a backslash, a second pytest.main in the same process gives
# the test another node id than the first: the generated names are kept, escaped, and escaped again. So whoever collects,
# and then runs by id what was collected (mutmut does), is told "not found", exit code 4.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.0.2
cat >"$folder/test_it.py" <<'PY'
import pytest


@pytest.mark.parametrize("data", [b"\xff"], ids=repr)
def test_it(data):
    pass
PY
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import pytest


class Ids:
    def pytest_collection_modifyitems(self, items):
        self.found = [item.nodeid for item in items]


first, second = Ids(), Ids()
for ids in (first, second):
    pytest.main(["-qq", "--collect-only", "-p", "no:cacheprovider", "--import-mode=importlib", "test_it.py"], plugins=[ids])
print("pytest", pytest.__version__, first.found, second.found)
# Seen: two backslashes in the first name, four in the second (9.0.2 and 9.2.0).
assert first.found != second.found, "the behaviour has changed"
PY
