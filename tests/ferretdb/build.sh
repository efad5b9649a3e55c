#!/usr/bin/env bash
# Builds FerretDB, which stands in for MongoDB where there is none, and prints the program's path.
#
#   tests/ferretdb/build.sh
#
# Once: into build/ferretdb, and again only when something in this folder has changed. About a minute and 37 MB.
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

go=$("$here/go.sh")
# No other Go than this one is fetched, whatever a go.mod asks for.
export GOTOOLCHAIN=local

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
