#!/usr/bin/env bash
# npm_build.sh DIR OUTPUT: runs `npm run build` in DIR unless OUTPUT, a file that tells of the last build, is newer than
# all sources there. Several build directories share one DIR, so it takes a lock and looks again under it.
set -euo pipefail
directory=$1 output=$2
if [ ! -d "$directory/node_modules" ]; then
  echo "$directory has no node_modules: run script/setup first" >&2
  exit 1
fi
exec 9> "$directory/node_modules/.build.lock"
flock 9
is_built() {
  [ -f "$output" ] && [ -z "$(find "$directory" "${@}" \( -name node_modules -o -name 'dist*' \) -prune -o \
    -type f -newer "$output" -print -quit)" ]
}
# The page is built from the client library's sources too.
if is_built ${NPM_BUILD_ALSO:-}; then
  touch "$output"  # or a build directory that saw a newer script would ask again and again
  exit 0
fi
cd "$directory"
npm run --silent build
mkdir -p "$(dirname "$output")"
touch "$output"
