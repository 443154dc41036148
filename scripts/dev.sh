#!/usr/bin/env bash
# Builds the gateway and runs it with a provider and a demo around it: open the address that it prints.
# Arguments go to `bearward dev`; see `scripts/dev.sh --help`.
set -euo pipefail

# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

setup_build
# Not --release: the first build takes less than half the time, and a demo needs no speed.
exec cargo run --locked --manifest-path "$root/Cargo.toml" -- dev "$@"
