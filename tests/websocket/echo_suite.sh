#!/bin/bash
# echo_suite.sh ECHO OUT [run.sh's options]: starts the program ECHO on a free port, runs the published cases against
# it, and stops it. Passes if no case failed; says which were non-strict.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
echo_program=$1 out=$2
shift 2

mkdir -p "$out"
coproc server { exec "$echo_program" 0 2> "$out/echo.log"; }
pid=$server_PID
trap 'kill "$pid" 2> /dev/null || true' EXIT
# The first line is the port that it has taken.
if ! read -r -t 30 port <&"${server[0]}"; then
    echo "echo_suite: $echo_program did not start:" >&2
    cat "$out/echo.log" >&2
    exit 2
fi

status=0
"$here/run.sh" "ws://127.0.0.1:$port/" --out "$out" "$@" || status=$?
if ! kill -0 "$pid" 2> /dev/null; then
    echo "echo_suite: the echo server has died:" >&2
    cat "$out/echo.log" >&2
    exit 1
fi
exit "$status"
