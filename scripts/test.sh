#!/usr/bin/env bash
# Runs every test and prints what came of them. Sets up what they need; see scripts/setup.sh.
# With CI=true a part that cannot run here fails; otherwise it is skipped, loudly.
set -euo pipefail

# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

cd "$root"
setup_build
setup_tests

mkdir -p target
log=target/test.log
failed=0

: >"$log"
cargo test --workspace --locked --no-fail-fast 2>&1 | tee -a "$log" || failed=1
if cargo build --locked; then
  printf '\n     Running tests/browser\n' | tee -a "$log"
  node tests/browser/run.mjs 2>&1 | tee -a "$log" || failed=1
else
  failed=1
fi

# One row per suite, from the lines that cargo, libtest and tests/browser/run.mjs print. A test that could not run
# here says `SKIPPED`; libtest counts it as passed. A suite without a closing line was killed or never ended.
awk '
  function row() {
    if (suite == "") return
    if (!closed) lost += 1
    if (passed + lost + out == 0) return
    printf "%-34s %8d %8d %8d\n", suite, passed - said, lost, out + said
    all_passed += passed - said; all_lost += lost; all_out += out + said
    suite = ""
  }
  function begin(name) { row(); suite = name; passed = lost = out = said = closed = 0 }
  BEGIN { printf "\n%-34s %8s %8s %8s\n", "suite", "passed", "failed", "skipped" }
  $1 == "Running" && $2 == "unittests" { name = $4; sub(/.*\//, "", name); sub(/-[0-9a-f]+\)$/, "", name); begin(name " " $3); next }
  $1 == "Running" { name = $2; sub(/\/main\.rs$/, "", name); from = $3; sub(/.*\//, "", from); begin(name); next }
  $1 == "Doc-tests" { begin("documentation of " $2); next }
  $1 == "SKIPPED" && suite != "tests/browser" { said += 1 }
  /^test result:/ { passed += $4; lost += $6; out += $8; closed = 1 }
  suite == "tests/browser" && /^[0-9]+ passed, [0-9]+ failed/ { passed += $1; lost += $3; out += $5; closed = 1 }
  END {
    row()
    printf "\n%d passed, %d failed, %d skipped\n", all_passed, all_lost, all_out
  }
' "$log"
exit "$failed"
