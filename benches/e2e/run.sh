#!/usr/bin/env bash
# Compares Bearward with bare pingora and nginx on this machine; see benches/README.md.
# Arguments are those of measure.py: `run.sh --help`.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
for tool in nginx:nginx-light wrk:wrk taskset:util-linux python3:python3; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
if ((${#missing[@]})); then
    echo "missing; on Debian: apt-get install ${missing[*]}" >&2
    exit 1
fi

cargo build --release --bin bearward --example bare_pingora --example bench_provider
exec python3 benches/e2e/measure.py --bin "${CARGO_TARGET_DIR:-target}/release" "$@"
