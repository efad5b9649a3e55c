#!/bin/sh
# Runs every fuzz target for some seconds each:  tests/fuzz/run.sh [SECONDS [NAME...]]   (default 30, all)
# Starts from corpus/NAME, with the words of NAME.dict where there are any.
# Needs:  cmake --preset fuzz && cmake --build --preset fuzz
# What it finds new goes into build/fuzz/found/NAME, so that later runs go on from there; an input that breaks something
# into build/fuzz/broken/NAME-*: give it to the program as its only argument to see it again.
# FUZZ_SEED repeats a run's choices (from the same found/NAME).
set -eu
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
build=$root/build/fuzz
seconds=${1:-30}
[ $# -gt 0 ] && shift
if [ $# -eq 0 ]; then
  for source in "$root"/tests/fuzz/*_fuzz.cc; do set -- "$@" "$(basename "$source" _fuzz.cc)"; done
fi
for name in "$@"; do
  corpus=$root/tests/fuzz/corpus/$name
  [ -d "$corpus" ] || corpus=
  words=$root/tests/fuzz/$name.dict
  [ -f "$words" ] || words=
  mkdir -p "$build/found/$name" "$build/broken"
  seed=${FUZZ_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
  log=$build/broken/$name.log
  echo "fuzz: $name for $seconds s, seed $seed"
  if "$build/${name}_fuzz" -seed="$seed" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
    -print_final_stats=1 -artifact_prefix="$build/broken/$name-" ${words:+"-dict=$words"} \
    "$build/found/$name" ${corpus:+"$corpus"} >"$log" 2>&1; then
    echo "fuzz: $name held, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
    rm "$log"
  else
    tail -n 60 "$log" >&2
    echo "fuzz: $name broke; the input lies under $build/broken, all output in $log" >&2
    exit 1
  fi
done
