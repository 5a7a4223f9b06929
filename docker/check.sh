#!/bin/sh
# Runs the steps of the Dockerfile without a container engine: the same commands, in a clean folder and environment, on
# the Python at hand. What it cannot check: the base images, the user, the volume and the read-only root.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT
server=
git archive HEAD pyproject.toml uv.lock README.md LICENSE twin connectors api | tar -x -C "$work"
extras=$(sed -n 's/^ARG EXTRAS="\(.*\)"$/\1/p' docker/Dockerfile)
(cd "$work" && env -u PYTHONPATH -u VIRTUAL_ENV uv sync --quiet --locked --no-default-groups $extras --no-editable)
rm -r "$work/twin" "$work/connectors" "$work/api"  # the image has what was installed, nothing else
cd "$work"
mkdir data
env -i PATH="$work/.venv/bin:/usr/bin:/bin" HOME="$work" TWIN_DATA_DIR="$work/data" TWIN_HOST=127.0.0.1 TWIN_PORT=8642 \
	TWIN_ADMIN_KEY=a-key-for-this-check-only MPLCONFIGDIR="$work/mpl" twin serve &
server=$!
for _ in $(seq 120); do
	sleep 1
	"$work/.venv/bin/python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8642/healthz', timeout=2)" 2>/dev/null && up=1 && break
done
[ "${up:-}" = 1 ] || { echo "the service did not answer" >&2; exit 1; }
"$work/.venv/bin/python" - <<'PY'
import json, urllib.request as u
ask = lambda path: u.urlopen(u.Request(f"http://127.0.0.1:8642{path}", headers={"Authorization": "Bearer a-key-for-this-check-only"})).read()
assert json.loads(ask("/v1/plants"))["items"] == []
assert b"<html" in ask("/") or b"<!doctype" in ask("/").lower()
assert b"twin_requests" in ask("/metrics")
PY
kill $server && wait $server
server=
echo "the steps of the image work on $("$work/.venv/bin/python" --version)"
