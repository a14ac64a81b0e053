#!/usr/bin/env bash
# flwr 1.42.0, flower-superlink --enable-supernode-auth: a registered SuperNode that was killed and is started again at once is
# refused and ends with "Exit Code: 305 … Failed to activate SuperNode", though it may be tried for ever (--max-retries is not
# set): for the SuperLink the node is online until it has missed two heartbeats, a minute. Without registration it would
# simply be another node. Whatever starts SuperNodes must start them again (systemd Restart=on-failure, compose restart:).
set -euo pipefail
folder=$(mktemp -d)
link= first= second=
stop() { for pid in $link $first $second; do kill -9 -- "-$pid" 2>/dev/null || true; done; rm -rf "$folder"; }
trap stop EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check flwr==1.42.0
export PATH="$folder/venv/bin:$PATH" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1 FLWR_HOME="$folder/home"
port=39471
openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-384 -days 2 -subj "/CN=localhost" \
  -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" -keyout "$folder/key" -out "$folder/crt" 2>/dev/null
ssh-keygen -q -t ecdsa -b 384 -N '' -f "$folder/node"
mkdir "$folder/home"
printf '[superlink.here]\naddress = "localhost:%s"\nroot-certificates = "%s"\n' "$port" "$folder/crt" > "$folder/home/config.toml"
setsid flower-superlink --port "$port" --enable-supernode-auth --ssl-certfile "$folder/crt" --ssl-keyfile "$folder/key" \
  --ssl-ca-certfile "$folder/crt" > "$folder/link" 2>&1 & link=$!
until grep -q "startup complete" "$folder/link"; do sleep 1; done
flwr supernode register "$folder/node.pub" here
node() { setsid flower-supernode --superlink "localhost:$port" --root-certificates "$folder/crt" --port 39472 \
  --auth-supernode-private-key "$folder/node" > "$folder/$1" 2>&1 & }
node one; first=$!
until grep -q "SuperNode ID" "$folder/one"; do sleep 1; done
kill -9 -- "-$first"
node two; second=$!
code=0; wait "$second" || code=$?
echo "exit code of the second start: $code; $(grep -o 'Failed to activate SuperNode' "$folder/two")"
# Seen: the text says 305, the process ends with 1.
[ "$code" = 1 ] && grep -q "Exit Code: 305" "$folder/two"
