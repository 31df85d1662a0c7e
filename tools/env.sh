#!/bin/sh
# Make .venv from requirements.lock, or do nothing when it is already what the lock says.
#   PYTHON            interpreter to build on (default: python3; 3.11 or newer)
#   UV_TORCH_BACKEND  e.g. "cpu" or "cu126": which PyTorch build; remembered for later runs
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
BACKEND=${UV_TORCH_BACKEND:-$(cat .venv/.torch-backend 2>/dev/null || true)}
KEY="$(cat requirements.lock pyproject.toml tools/env.sh | cksum) $PWD $BACKEND $("$PYTHON" -V)"
if [ "$(cat .venv/.ready 2>/dev/null || true)" = "$KEY" ] && .venv/bin/python -c ''; then exit 0; fi

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "tccam needs Python 3.11 or newer; '$PYTHON' is not. Try: make PYTHON=python3.12" >&2
    exit 1
}
UV=$(command -v uv || echo .cache/uv/bin/uv)
if [ ! -x "$UV" ]; then
    echo "Fetching uv into .cache/uv ..."
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-warn-script-location \
        --target .cache/uv uv || {
        echo "Could not fetch uv with '$PYTHON -m pip'. Install uv yourself, then run make again." >&2
        exit 1
    }
fi
echo "Making .venv from requirements.lock ..."
[ -z "$BACKEND" ] || export UV_TORCH_BACKEND="$BACKEND"
"$UV" venv --quiet --clear --python "$PYTHON" .venv
# The lock is used as constraints: a CPU build of torch then brings none of the CUDA packages along.
"$UV" pip install --quiet --python .venv/bin/python --constraints requirements.lock \
    --editable '.[book,export,study,test]'
.venv/bin/python -m ipykernel install --prefix .venv --name tccam --display-name tccam >/dev/null
[ -z "$BACKEND" ] || echo "$BACKEND" > .venv/.torch-backend
echo "$KEY" > .venv/.ready
echo "Ready: .venv/bin/tccam --help, make book"
