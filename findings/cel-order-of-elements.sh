#!/usr/bin/env bash
# Whether exists and all of CEL depend on the order of a list.
#
# Expected: exists is || over the elements and all is && (CEL's language definition, "Macros"), and
#   || and && absorb the error of one side where the other decides. So [1, "a", 5].exists(x, x > 3)
#   is true in every order.
# What happens: common-expression-language does absorb errors in || and &&, but its exists and all
#   end at the first element that is an error.
# Why a monitor cares: the list comes from a server, whose order nobody promises. One item without a
#   field turns an alert on or off by where it stands.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q common-expression-language==0.10.0
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
from importlib.metadata import version

import cel

print("common-expression-language", version("common-expression-language"))


def show(source):
    try:
        print(source, "is", cel.evaluate(source, {}))
    except TypeError:
        print(source, "is an error")


show('5 > 3 || "a" > 3')
show('"a" > 3 || 5 > 3')
show('[5, "a"].exists(x, x > 3)')
show('["a", 5].exists(x, x > 3)')
show('[1, "a"].all(x, x > 3)')
show('["a", 1].all(x, x > 3)')
PYTHON
diff "$folder/seen" - <<'TEXT'
common-expression-language 0.10.0
5 > 3 || "a" > 3 is True
"a" > 3 || 5 > 3 is True
[5, "a"].exists(x, x > 3) is True
["a", 5].exists(x, x > 3) is an error
[1, "a"].all(x, x > 3) is False
["a", 1].all(x, x > 3) is an error
TEXT
