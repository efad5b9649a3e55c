#!/usr/bin/env bash
# tidy.sh BUILD: runs clang-tidy (.clang-tidy) over every file of server/ that BUILD compiles. Fails on any finding.
set -euo pipefail
build=$1
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# The compiler's own warnings are the compiler's business; GCC's names of them mean nothing to clang.
python3 - "$build" <<'PYTHON' | xargs -0 -n 1 -P "$(nproc)" clang-tidy-14 --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option
import json, os, sys
files = {os.path.abspath(os.path.join(e["directory"], e["file"])) for e in json.load(open(os.path.join(sys.argv[1], "compile_commands.json")))}
here = os.path.abspath("server") + os.sep
ours = sorted(f for f in files if f.startswith(here) and not f.endswith("_test.cc"))
sys.exit("nothing to look at") if not ours else sys.stdout.write("\0".join(ours))
PYTHON
