#!/usr/bin/env bash
# When a brotli decompressor is through.
#
# Expected: Decompressor.can_accept_more_data() is true once all output of the data so far was
#   fetched, since process() takes an output_buffer_limit and asks to be called again otherwise.
# What happens: it is true as soon as all input is taken in, while hundreds of kilobytes of output
#   are still held back. Only a process() that returns nothing shows the end.
# Why a monitor cares: whoever bounds what a page unpacks to needs the limit, and a loop by the
#   method's name would cut pages short: a text at their end would be missed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q brotli==1.2.1
"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import brotli

text = b"row of a report\n" * 50_000
stream = brotli.Decompressor()
first = stream.process(brotli.compress(text), output_buffer_limit=65_536)
print("brotli", brotli.version)
print("all of it:", len(first) == len(text), "- can take more:", stream.can_accept_more_data())
more = b""
while piece := stream.process(b"", output_buffer_limit=65_536):
    more += piece
print("what was held back is the rest:", first + more == text)
PYTHON
diff "$folder/seen" - <<'TEXT'
brotli 1.2.1
all of it: False - can take more: True
what was held back is the rest: True
TEXT
