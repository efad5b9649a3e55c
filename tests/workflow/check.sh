#!/usr/bin/env bash
# Checks .github/workflows with actionlint, which is built once into build/workflow.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/build/workflow
mkdir -p "$out"
exec 9> "$out/.lock"
flock 9

state=$(cat "$here/go.mod" "$here/go.sum" | cksum)
if [ ! -x "$out/actionlint" ] || [ "$(cat "$out/.built" 2> /dev/null)" != "$state" ]; then
  go=$("$here/../ferretdb/go.sh")
  (cd "$here" && GOTOOLCHAIN=local CGO_ENABLED=0 "$go" build -trimpath -buildvcs=false -o "$out/actionlint" \
    github.com/rhysd/actionlint/cmd/actionlint)
  echo "$state" > "$out/.built"
fi
[ "${1:-}" != --build ] || exit 0
# Not with the linters of shell and Python that a machine happens to have: they differ from machine to machine.
"$out/actionlint" -shellcheck= -pyflakes= "$root"/.github/workflows/*.yml
echo "actionlint finds nothing in $(ls "$root"/.github/workflows/*.yml | wc -l) workflow(s)"
