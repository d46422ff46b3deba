#!/usr/bin/env bash
# What size counts in a text of CEL.
#
# Expected: code points (CEL's language definition, "List of Standard Definitions"), as cel-go does.
# What happens: common-expression-language counts the bytes of UTF-8.
# Why a monitor cares: size(body) < 500 or size(json.name) <= 20 fails for a page in Greek, and holds
#   for the same page in English.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q common-expression-language==0.10.0
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
from importlib.metadata import version

import cel

print("common-expression-language", version("common-expression-language"))
for source in ("size('cafe')", "size('caf\u00e9')", "'\u03b1\u03b2'.size()", "['\u03b1'].size()"):
    print(ascii(source), "is", cel.evaluate(source, {}))
PYTHON
diff "$folder/seen" - <<'TEXT'
common-expression-language 0.10.0
"size('cafe')" is 4
"size('caf\xe9')" is 5
"'\u03b1\u03b2'.size()" is 4
"['\u03b1'].size()" is 1
TEXT
