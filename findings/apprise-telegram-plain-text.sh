#!/usr/bin/env bash
# What apprise sends to Telegram when a service object itself is asked to send plain text.
#
# Expected: a text that is declared as plain text is escaped for Telegram's HTML, whether
#   Apprise.notify() or notify() of the service sends it.
# What happens: the service's own notify() takes the text for HTML: tags in it become formatting, and
#   unsupported ones are dropped with what is in them. Apprise.notify() with the same service escapes
#   it. Both report the message as sent.
# Why a monitor cares: the reason of an outage often quotes a page. The message arrives without the
#   part that says what is wrong, and nothing tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q apprise==2.3.0
cat >"$folder/send.py" <<'PYTHON'
from apprise import Apprise, NotifyFormat

TEXT = 'body "<script>x</script>" does not match "<title>", status 200'


def sent_by(sender):
    """Print the text that reaches the service, which only keeps it."""
    texts = []
    service.send = lambda body, **_: texts.append(body) or True
    sent = bool(sender.notify(body=TEXT, body_format=NotifyFormat.TEXT))
    print(f"sent: {sent}, text: {' '.join(' '.join(texts).split())}")


service = Apprise.instantiate("tgram://123456789:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/42")
sent_by(service)
services = Apprise()
services.add(service)
sent_by(services)
PYTHON
"$folder/venv/bin/python" -W ignore -c 'import apprise; print("apprise", apprise.__version__)'
"$folder/venv/bin/python" -W ignore "$folder/send.py" | tee "$folder/seen"
diff "$folder/seen" - <<'TEXT'
sent: True, text: body "" does not match " <b>", status 200</b>
sent: True, text: body "&lt;script&gt;x&lt;/script&gt;" does not match "&lt;title&gt;", status 200
TEXT
