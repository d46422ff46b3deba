"""
The text of DNS records as blackbox_exporter writes it, for patterns that were written for it.

Its library, miekg/dns, separates the first fields with tabs and writes some types differently than
dnspython does: digests in upper case, keys in one piece, locations without the unit metre.
"""

import re
from collections.abc import Callable, Mapping

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.LOC import LOC

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_PARAMETER = re.compile(r'(?<= )([a-z0-9-]+)(="(?:\\.|[^"\\])*")?')
_MILLISECONDS = 1000.0
_UNKNOWN = frozenset({RdataType.WKS, RdataType.NSAP, RdataType.WALLET})
"""Types that dnspython knows and miekg/dns does not."""


def exporter_text(name: dns.name.Name, ttl: int, data: dns.rdata.Rdata) -> str:
    """Return a record as miekg/dns prints it."""
    rdclass, rdtype = data.rdclass, data.rdtype
    if isinstance(data, dns.rdata.GenericRdata) or rdtype in _UNKNOWN:
        octets = data.to_wire() or b""
        return (
            f"{_name(str(name))}\t{ttl}\tCLASS{int(rdclass)}\tTYPE{int(rdtype)}\t"
            f"\\# {len(octets)} {octets.hex()}"
        )
    head = (
        f"{_name(str(name))}\t{ttl}\t{dns.rdataclass.to_text(rdclass)}\t"
        f"{dns.rdatatype.to_text(rdtype)}\t"
    )
    if isinstance(data, LOC):
        return head + _place(data)
    text = data.to_text(chunksize=0)
    if not _QUOTED.search(text):
        text = _name(text)
    change = _CHANGES.get(rdtype)
    return head + (change(text) if change else text)


def _name(text: str) -> str:
    """Return names with the escapes of Go's library: for blanks and apostrophes, not for $."""
    return text.replace(r"\032", r"\ ").replace(r"\$", "$").replace("'", r"\'")


def _upper_end(text: str) -> str:
    head, blank, digest = text.rpartition(" ")
    return head + blank + digest.upper()


def _upper_hash(text: str) -> str:
    """Return the salt of NSEC3 and the hash that follows it, in upper case."""
    fields = text.split(" ")
    return " ".join([*fields[:3], *(one.upper() for one in fields[3:5]), *fields[5:]])


def _with_values(text: str) -> str:
    priority, target, *parameters = text.split(" ", 2)
    rest = "".join(parameters)
    shown = _PARAMETER.sub(lambda found: found[1] + (found[2] or '=""'), f" {rest}") if rest else ""
    return f"{priority} {target}{shown}"


def _bare(text: str) -> str:
    return text.strip('"')


_CHANGES: Mapping[RdataType, Callable[[str], str]] = {
    RdataType.DS: _upper_end,
    RdataType.CDS: _upper_end,
    RdataType.DLV: _upper_end,
    RdataType.SSHFP: _upper_end,
    RdataType.NSEC3: _upper_hash,
    RdataType.NSEC3PARAM: _upper_hash,
    RdataType.SVCB: _with_values,
    RdataType.HTTPS: _with_values,
    RdataType.X25: _bare,
}


def _place(data: LOC) -> str:
    latitude = _angle(data.latitude, "NS")
    longitude = _angle(data.longitude, "EW")
    sizes = (data.altitude, data.size, data.horizontal_precision, data.vertical_precision)
    metres = " ".join(f"{_metres(size)}m" for size in sizes)
    return f"{latitude} {longitude} {metres}"


def _angle(parts: tuple[int, int, int, int, int], letters: str) -> str:
    degrees, minutes, seconds, thousandths, sign = parts
    letter = letters[0] if sign > 0 else letters[1]
    return f"{degrees:02d} {minutes:02d} {seconds + thousandths / _MILLISECONDS:.3f} {letter}"


def _metres(centimetres: float) -> str:
    whole = round(centimetres) % 100 == 0
    return f"{centimetres / 100:.0f}" if whole else f"{centimetres / 100:.2f}"
