"""Accept headers as Prometheus, its relatives, browsers and careless clients send them."""

import pytest

from monitor.metrics.negotiation import negotiate

OPENMETRICS = "application/openmetrics-text"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;"
    "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;"
    "q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS_2,
        PROMETHEUS_3,
        OPENMETRICS,
        f"{OPENMETRICS};version=1.0.0",
        f'{OPENMETRICS}; version="1.0.0"; charset=UTF-8',
        f"{OPENMETRICS} ; Version=1.0.0 ; Q=0.5",
        f"{OPENMETRICS},*/*",
        f"*/*,{OPENMETRICS}",
        f"{OPENMETRICS};q=0.001",
        f"{OPENMETRICS},text/plain",
        f"text/plain;q=0.5,{OPENMETRICS};q=0.6",
        f"{OPENMETRICS};version=0.0.1,{OPENMETRICS};version=1.0.0;q=0.2",
        f"text/plain;q=0,{OPENMETRICS}",
        "text/plain;q=0,*/*",
        "text/*;q=0.1,application/*;q=0.2",
        "APPLICATION/OpenMetrics-Text",
        f"{OPENMETRICS},*/*;q=0",
    ],
)
def test_openmetrics_is_what_these_prefer(accept):
    """It is chosen by weight, then by how exactly it is named, then by order."""
    assert negotiate(accept) == ("application/openmetrics-text; version=1.0.0; charset=utf-8", True)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
        "text/plain;version=0.0.4;q=1,*/*;q=0.1",
        f"{OPENMETRICS};q=0",
        f"{OPENMETRICS};q=0,*/*",
        f"{OPENMETRICS};q=0.0,text/plain;q=0.1",
        f"{OPENMETRICS};version=1.0.0;q=0,{OPENMETRICS};q=1",
        f"{OPENMETRICS};q=0.3,text/plain;version=0.0.4;q=0.6",
        f"text/plain,{OPENMETRICS}",
        f"{OPENMETRICS};q=0.5,*/*;q=0.6",
        f"{OPENMETRICS};version=0.0.1",
        f"{OPENMETRICS};version=2.0.0",
        f"{OPENMETRICS};version=banana",
        f"{OPENMETRICS};charset=utf-16",
        f"{OPENMETRICS};q=banana",
        f"{OPENMETRICS};q=2",
        f"{OPENMETRICS};q=-1",
        f"{OPENMETRICS};q=",
        "application/*;q=0,*/*",
        "application/json",
        "*/*;q=0",
        "text/plain;version=1.0.0;escaping=allow-utf-8",
        ",;,=;q,",
        "a/b;q=x," * 5000 + OPENMETRICS,
    ],
)
def test_all_others_get_text(accept):
    """That includes clients that accept neither format, or send nothing intelligible."""
    assert negotiate(accept) == ("text/plain; version=0.0.4; charset=utf-8", False)
