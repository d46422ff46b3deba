"""Translates a DNS module of blackbox_exporter."""

from urllib.parse import quote

from monitor.config.blackbox.client import put_network, put_tls
from monitor.config.blackbox.draft import Draft
from monitor.config.blackbox.form import BlackboxModule, Dns, RecordMatch
from monitor.config.blackbox.http import written_pattern
from monitor.config.keys import PLACE

# Types that have a name in miekg/dns, and only a number in dnspython
_TYPES = {
    "NIMLOC": 32,
    "EID": 31,
    "ATMA": 34,
    "RKEY": 57,
    "TALINK": 58,
    "UINFO": 100,
    "UID": 101,
    "GID": 102,
    "Reserved": 65535,
}
_RCODES = frozenset(
    {
        "NOERROR",
        "FORMERR",
        "SERVFAIL",
        "NXDOMAIN",
        "NOTIMP",
        "REFUSED",
        "YXDOMAIN",
        "YXRRSET",
        "NXRRSET",
        "NOTAUTH",
        "NOTZONE",
        "DSOTYPENI",
        "BADSIG",
        "BADKEY",
        "BADTIME",
        "BADMODE",
        "BADNAME",
        "BADALG",
        "BADTRUNC",
        "BADCOOKIE",
    }
)


def dns_module(module: BlackboxModule, draft: Draft) -> None:
    dns = module.dns or _ROOT
    put_network(dns, draft, "dns")
    if dns.transport_protocol not in ("", "udp", "tcp"):
        text = f"{dns.transport_protocol!r} is neither udp nor tcp"
        draft.fails(text, "dns", "transport_protocol")
    elif dns.dns_over_tls and dns.transport_protocol != "tcp":
        draft.fails("dns_over_tls needs transport_protocol: tcp", "dns", "dns_over_tls")
    type_ = f"TYPE{_TYPES[dns.query_type]}" if dns.query_type in _TYPES else dns.query_type
    draft.put("dns.type", type_ or "ANY", "dns", "query_type")
    if dns.query_class not in ("", "IN"):
        draft.put("dns.class", dns.query_class, "dns", "query_class")
    transport = "tls" if dns.dns_over_tls else dns.transport_protocol
    # Its patterns are written for records as miekg/dns prints them
    draft.put("dns.records", "blackbox_exporter", "dns")
    if transport not in ("", "udp"):
        draft.put("dns.transport", transport, "dns", "transport_protocol")
    if dns.dns_over_tls:
        put_tls(dns.tls_config, draft, "dns", "tls_config")
    draft.put("dns.edns", False, "dns")  # blackbox_exporter queries without EDNS
    if not dns.recursion_desired:
        draft.put("dns.recursion", False, "dns", "recursion_desired")
    if dns.valid_rcodes is not None:
        for index, code in enumerate(dns.valid_rcodes):
            if code not in _RCODES:
                draft.fails(f"it knows no rcode {code!r}", "dns", "valid_rcodes", index)
        draft.some(
            "expect.rcode", dns.valid_rcodes, "none of them is a rcode", "dns", "valid_rcodes"
        )
    # In blackbox_exporter an empty answer is good unless a rule says otherwise
    draft.put("expect.answer.count", {"ge": 0}, "dns")
    for section in ("answer", "authority", "additional"):
        _records(getattr(dns, f"validate_{section}_rrs"), section, draft)


def _records(match: RecordMatch, section: str, draft: Draft) -> None:
    key = f"validate_{section}_rrs"
    if match.fail_if_matches_regexp:
        patterns = list(map(written_pattern, match.fail_if_matches_regexp))
        draft.put(f"expect.{section}.not_matches", patterns, "dns", key, "fail_if_matches_regexp")
    if every := (*match.fail_if_not_matches_regexp, *match.fail_if_all_match_regexp):
        name = "fail_if_not_matches_regexp"
        if not match.fail_if_not_matches_regexp:
            # Despite its name it fails if not all records match, and an empty section passes
            name = "fail_if_all_match_regexp"
            draft.put(f"expect.{section}.empty", "allowed", "dns", key, name)
        draft.put(
            f"expect.{section}.all_match", list(map(written_pattern, every)), "dns", key, name
        )
    if match.fail_if_none_matches_regexp:
        # It is enough if one record matches one of the patterns
        one = "|".join(f"(?:{one})" for one in match.fail_if_none_matches_regexp)
        draft.put(f"expect.{section}.matches", one, "dns", key, "fail_if_none_matches_regexp")


# A module with an empty section queries the root
_ROOT = Dns(query_name=".")


def dns_url(module: BlackboxModule) -> str:
    name = (module.dns or _ROOT).query_name
    return f"dns://{PLACE}/{quote(name, safe='')}"
