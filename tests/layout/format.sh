#!/usr/bin/env bash
# Fails when clang-format would change a C++ file of the repository. To mend: clang-format-14 -i FILE.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
git ls-files -z '*.h' '*.cc' | xargs -0 -n 40 -P 2 clang-format-14 --dry-run --Werror
