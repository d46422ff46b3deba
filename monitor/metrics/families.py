"""
The only list of the metrics of a site: names, types, HELP texts and labels.

The ``probe_`` families are blackbox_exporter's, to the letter, so that its dashboards and alert
rules keep working; protocols.py and exposition.py decide when each is present. Metrics of the
daemon itself are in internal.py.
"""

from dataclasses import dataclass
from typing import Literal

SITE_LABELS = ("site", "target", "group")
"""Every series of a site has these labels, before the site's own."""


@dataclass(frozen=True, slots=True)
class Family:
    """
    One metric of a site.

    Attributes:
        name: The name of its samples, so a counter's ends in ``_total``; a histogram's samples add
            ``_bucket``, ``_sum`` and ``_count``.
        labels: The labels that tell its samples apart, beside those of the site.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()

    def header(self, *, openmetrics: bool) -> str:
        """Return its HELP and TYPE lines; OpenMetrics names a counter without ``_total``."""
        name = self.name.removesuffix("_total") if openmetrics else self.name
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.type}\n"


PROBE_FAMILIES: tuple[Family, ...] = (
    # every protocol
    Family("probe_success", "gauge", "Displays whether or not the probe was a success"),
    Family(
        "probe_duration_seconds", "gauge", "Returns how long the probe took to complete in seconds"
    ),
    Family("probe_timeout_seconds", "gauge", "Returns how long the probe timeout is in seconds"),
    Family(
        "probe_dns_lookup_time_seconds",
        "gauge",
        "Returns the time taken for probe dns lookup in seconds",
    ),
    Family("probe_ip_protocol", "gauge", "Specifies whether probe ip protocol is IP4 or IP6"),
    Family(
        "probe_ip_addr_hash",
        "gauge",
        "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
    ),
    Family("probe_failed_due_to_regex", "gauge", "Indicates if probe failed due to regex"),
    Family(
        "probe_failed_due_to_cel",
        "gauge",
        "Indicates if probe failed due to CEL expression not matching",
    ),
    # HTTP
    Family(
        "probe_http_duration_seconds",
        "gauge",
        "Duration of http request by phase, summed over all redirects",
        ("phase",),
    ),
    Family("probe_http_content_length", "gauge", "Length of http content response"),
    Family("probe_http_uncompressed_body_length", "gauge", "Length of uncompressed response body"),
    Family("probe_http_redirects", "gauge", "The number of redirects"),
    Family("probe_http_ssl", "gauge", "Indicates if SSL was used for the final redirect"),
    Family("probe_http_status_code", "gauge", "Response HTTP status code"),
    Family("probe_http_version", "gauge", "Returns the version of HTTP of the probe response"),
    Family(
        "probe_http_last_modified_timestamp_seconds",
        "gauge",
        "Returns the Last-Modified HTTP response header in unixtime",
    ),
    # TLS
    Family("probe_ssl_earliest_cert_expiry", "gauge", "Returns last SSL chain expiry in unixtime"),
    Family(
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        "gauge",
        "Returns last SSL chain expiry in timestamp",
    ),
    Family(
        "probe_ssl_last_chain_info",
        "gauge",
        "Contains SSL leaf certificate information",
        ("fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"),
    ),
    Family(
        "probe_tls_version_info",
        "gauge",
        "Returns the TLS version used or NaN when unknown",
        ("version",),
    ),
    Family(
        "probe_tls_cipher_info",
        "gauge",
        "Returns the TLS cipher negotiated during handshake",
        ("cipher",),
    ),
    # TCP; the labels of probe_expect_info are the named groups of the site's own dialogue
    Family("probe_failed_due_to_bytes", "gauge", "Indicates if probe failed due to bytes"),
    Family("probe_expect_info", "gauge", "Explicit content matched"),
    # ICMP
    Family("probe_icmp_duration_seconds", "gauge", "Duration of icmp request by phase", ("phase",)),
    Family("probe_icmp_reply_hop_limit", "gauge", "Replied packet hop limit (TTL for ipv4)"),
    # DNS
    Family("probe_dns_duration_seconds", "gauge", "Duration of DNS request by phase", ("phase",)),
    Family(
        "probe_dns_answer_rrs",
        "gauge",
        "Returns number of entries in the answer resource record list",
    ),
    Family(
        "probe_dns_authority_rrs",
        "gauge",
        "Returns number of entries in the authority resource record list",
    ),
    Family(
        "probe_dns_additional_rrs",
        "gauge",
        "Returns number of entries in the additional resource record list",
    ),
    Family(
        "probe_dns_query_succeeded",
        "gauge",
        "Displays whether or not the query was executed successfully",
    ),
    Family("probe_dns_serial", "gauge", "Returns the serial number of the zone"),
    # gRPC
    Family("probe_grpc_duration_seconds", "gauge", "Duration of gRPC request by phase", ("phase",)),
    Family("probe_grpc_ssl", "gauge", "Indicates if SSL was used for the connection"),
    Family("probe_grpc_status_code", "gauge", "Response gRPC status code"),
    Family(
        "probe_grpc_healthcheck_response",
        "gauge",
        "Response HealthCheck response",
        ("serving_status",),
    ),
    # WebSocket
    Family(
        "probe_websocket_duration_seconds",
        "gauge",
        "Duration of websocket request by phase",
        ("phase",),
    ),
    Family("probe_websocket_status_code", "gauge", "Response HTTP status code"),
    Family(
        "probe_websocket_connection_upgraded",
        "gauge",
        "Indicates if the websocket connection was successfully upgraded",
    ),
    Family(
        "probe_websocket_failed_due_to_regex", "gauge", "Indicates if probe failed due to regex"
    ),
)
"""The series that blackbox_exporter has for a probe, and that ``/probe`` returns."""

FAMILIES: tuple[Family, ...] = (
    *PROBE_FAMILIES,
    Family("monitor_checks_total", "counter", "Finished checks of the site, up or down"),
    Family(
        "monitor_check_failures_total",
        "counter",
        "Finished checks of the site that were down, by reason",
        ("reason",),
    ),
    Family(
        "monitor_check_errors_total",
        "counter",
        "Checks the monitor itself could not carry out; they say nothing about the site",
    ),
    Family(
        "monitor_check_duration_seconds", "histogram", "How long finished checks of the site took"
    ),
    Family(
        "monitor_checks_skipped_total",
        "counter",
        "Slots of the schedule in which the site was not checked, by cause",
        ("cause",),
    ),
    Family(
        "monitor_site_up",
        "gauge",
        "Confirmed state of the site: 1 up, 0 down; absent while it is neither",
    ),
    Family(
        "monitor_site_state_since_timestamp_seconds",
        "gauge",
        "When the site took on its confirmed state, in unixtime",
    ),
    Family(
        "monitor_site_flapping",
        "gauge",
        "Whether the results of the site change so often that its state alone would mislead",
    ),
    Family(
        "monitor_site_maintenance",
        "gauge",
        "Whether a maintenance window of the site is open; its checks and its state continue in it",
    ),
    Family(
        "monitor_site_suppressed",
        "gauge",
        "1 while the site is down because another is, which it depends on; absent otherwise",
        ("because",),
    ),
    Family(
        "monitor_site_check_error",
        "gauge",
        "Whether the last check of the site ended in an error of the monitor itself, so that "
        "nothing new is known of the site",
    ),
    Family(
        "monitor_site_votes",
        "gauge",
        "How many places say what of the site: up, down, or none for those without a vote; of a hub"
        " only",
        ("vote",),
    ),
    Family(
        "monitor_site_split",
        "gauge",
        "Whether there are enough votes neither for down nor for up, so that the state stays; of a"
        " hub only",
    ),
    Family(
        "monitor_site_location_up",
        "gauge",
        "What a place has settled of the site: 1 up, 0 down; absent while it has no vote; of a hub"
        " only",
        ("location",),
    ),
    Family("monitor_site_interval_seconds", "gauge", "How often the site is checked, in seconds"),
    Family(
        "monitor_last_check_timestamp_seconds",
        "gauge",
        "When the last finished check of the site started, in unixtime; "
        "results are cached between checks, and every probe_ series of the site is of this one",
    ),
    Family(
        "monitor_extracted_value",
        "gauge",
        "A number out of the last answer, by the name the site gives it; absent if it was not "
        "found",
        ("name",),
    ),
    Family(
        "monitor_extracted_info",
        "gauge",
        "A text out of the last answer, by the name the site gives it; absent if it was not found",
        ("name", "value"),
    ),
    Family(
        "monitor_content_changed_timestamp_seconds",
        "gauge",
        "When the watched content was last seen to change, in unixtime; absent until it does",
    ),
    Family(
        "monitor_certificate_not_before_timestamp_seconds",
        "gauge",
        "From when on that certificate is valid which ends first of the chain that was trusted, or"
        " of what was sent where nothing was, in unixtime",
    ),
    Family(
        "monitor_client_certificate_not_before_timestamp_seconds",
        "gauge",
        "From when on our own client certificate is valid, in unixtime; absent if there is none",
    ),
    Family(
        "monitor_client_certificate_expiry_timestamp_seconds",
        "gauge",
        "When our own client certificate ends, in unixtime; absent if there is none",
    ),
    Family(
        "monitor_certificate_verified",
        "gauge",
        "Whether the certificates and their name were accepted; "
        "absent without TLS and where the site turned verification off",
    ),
)
"""Every series of a site, in the order of the exposition."""

RESERVED_LABELS: frozenset[str] = frozenset(
    {*SITE_LABELS, "le", "quantile", *(label for family in FAMILIES for label in family.labels)}
) - {"location"}
"""
The label names that a site cannot use for its own labels.

``job`` and ``instance`` are allowed: Prometheus renames scraped ones to ``exported_job`` and
``exported_instance``, or keeps them under ``honor_labels``, as some users want. ``location`` is
allowed too: places and hubs rename it to ``exported_location``.
"""
