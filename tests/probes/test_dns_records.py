"""The text of DNS records in blackbox_exporter's modules equals that of its library, by type."""

import json
from pathlib import Path

import dns.name
import dns.rdata
import dns.rdatatype
import pytest

from monitor.probes.records import exporter_text
from tests.narrowing import known

_FILE = Path(__file__).parent / "exporter_records.txt"
RECORDS = [
    tuple(block.splitlines())
    for block in _FILE.read_text().partition("\n")[2].split("\n\n")
    if block
]


@pytest.mark.parametrize(("type_", "data", "text"), RECORDS)
def test_a_record_is_written_as_miekg_dns_writes_it(type_, data, text):
    """Digests are upper case, keys one piece, locations without metres, and heads have tabs."""
    wire = known(dns.rdata.from_text("IN", type_, data).to_wire())
    number = dns.rdatatype.from_text(type_)
    record = dns.rdata.from_wire("IN", number, wire, 0, len(wire))
    written = exporter_text(dns.name.from_text("a.test."), 300, record)
    assert written == f"a.test.\t300\t{json.loads(text)}"


def test_a_name_is_written_with_its_escapes():
    """A space and an apostrophe are escaped, a dollar sign is not."""
    record = dns.rdata.from_text("IN", "A", "192.0.2.1")
    written = exporter_text(dns.name.from_text(r"a\032b.c$d.e'f."), 1, record)
    assert written == "a\\ b.c$d.e\\'f.\t1\tIN\tA\t192.0.2.1"
