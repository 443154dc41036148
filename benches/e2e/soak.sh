#!/usr/bin/env bash
# Half an hour of mixed load with a reload every second; see benches/README.md. `soak.sh --minutes 2` for a first look.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
for tool in nginx:nginx-light wrk:wrk h2load:nghttp2-client openssl:openssl python3:python3; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
if ((${#missing[@]})); then
    echo "missing; on Debian: apt-get install ${missing[*]}" >&2
    exit 1
fi

cargo build --release --bin bearward --example bench_provider
exec python3 benches/e2e/soak.py --bin "${CARGO_TARGET_DIR:-target}/release" "$@"
