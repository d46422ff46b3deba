"""
Databases of Uptime Kuma 1.23, 2.0 and 2.5, with the columns that its migrations create.

Only columns matter here: types are the simplest that both SQLite and MariaDB have, and there are
no keys between tables.
"""

from collections.abc import Mapping
from typing import Any

_TEXT, _NUMBER, _MOMENT = "TEXT", "INTEGER", "DATETIME"

_MONITOR: dict[str, dict[str, Any]] = {
    "1.23": {
        "id": None, "name": None, "active": 1, "user_id": None, "interval": 20, "url": None,
        "type": None, "weight": 2000, "hostname": None, "port": None, "created_date": None,
        "keyword": None, "maxretries": 0, "ignore_tls": 0, "upside_down": 0, "maxredirects": 10,
        "accepted_statuscodes_json": '["200-299"]', "dns_resolve_type": None,
        "dns_resolve_server": None, "dns_last_result": None, "retry_interval": 0,
        "push_token": None, "method": "GET", "body": None, "headers": None,
        "basic_auth_user": None, "basic_auth_pass": None, "docker_host": None,
        "docker_container": None, "proxy_id": None, "expiry_notification": 1, "mqtt_topic": None,
        "mqtt_success_message": None, "mqtt_username": None, "mqtt_password": None,
        "database_connection_string": None, "database_query": None, "auth_method": None,
        "auth_domain": None, "auth_workstation": None, "grpc_url": None, "grpc_protobuf": None,
        "grpc_body": None, "grpc_metadata": None, "grpc_method": None, "grpc_service_name": None,
        "grpc_enable_tls": 0, "radius_username": None, "radius_password": None,
        "radius_calling_station_id": None, "radius_called_station_id": None,
        "radius_secret": None, "resend_interval": 0, "packet_size": 56, "game": None,
        "http_body_encoding": None, "description": None, "tls_ca": None, "tls_cert": None,
        "tls_key": None, "parent": None, "invert_keyword": 0, "json_path": None,
        "expected_value": None, "kafka_producer_topic": None, "kafka_producer_brokers": None,
        "kafka_producer_ssl": 0, "kafka_producer_allow_auto_topic_creation": 0,
        "kafka_producer_sasl_options": None, "kafka_producer_message": None,
        "oauth_client_id": None, "oauth_client_secret": None, "oauth_token_url": None,
        "oauth_scopes": None, "oauth_auth_method": None, "timeout": 0,
        "gamedig_given_port_only": 1,
    },
    "2.0": {
        "mqtt_check_type": "keyword", "remote_browser": None, "snmp_oid": None,
        "snmp_version": "2c", "json_path_operator": None, "cache_bust": 0, "conditions": "[]",
        "rabbitmq_nodes": None, "rabbitmq_username": None, "rabbitmq_password": None,
        "smtp_security": None, "ws_ignore_sec_websocket_accept_header": 0, "ws_subprotocol": "",
        "ping_count": 1, "ping_numeric": 1, "ping_per_request_timeout": 2, "ip_family": None,
        "manual_status": None, "oauth_audience": None, "mqtt_websocket_path": None,
    },
    "2.5": {
        "domain_expiry_notification": 1, "save_response": 0, "save_error_response": 1,
        "response_max_length": 1024, "system_service_name": None, "subtype": None,
        "location": None, "protocol": None, "snmp_v3_username": None, "expected_tls_alert": None,
        "retry_only_on_status_code_failure": 0, "screenshot_delay": 0,
        "ntp_stratum_threshold": 5, "ntp_time_offset_threshold": 1000,
        "ntp_root_dispersion_threshold": 500, "bearer_token": None, "gamedig_token": None,
    },
}  # fmt: skip
"""The columns that each version adds to the monitors, with their default values."""

_TABLES: dict[str, dict[str, tuple[str, ...]]] = {
    "1.23": {
        "docker_host": ("id", "user_id", "docker_daemon", "docker_type", "name"),
        "group": ("id", "name", "created_date", "public", "active", "weight", "status_page_id"),
        "proxy": ("id", "user_id", "protocol", "host", "port", "auth", "username", "password",
                  "active", "default", "created_date"),
        "user": ("id", "username", "password", "active", "timezone", "twofa_secret"),
        "heartbeat": ("id", "important", "monitor_id", "status", "msg", "time", "ping", "duration",
                      "down_count"),
        "incident": ("id", "title", "content", "style", "created_date", "last_updated_date", "pin",
                     "active", "status_page_id"),
        "maintenance": ("id", "title", "description", "user_id", "active", "strategy", "start_date",
                        "end_date", "start_time", "end_time", "weekdays", "days_of_month",
                        "interval_day", "cron", "timezone", "duration"),
        "status_page": ("id", "slug", "title", "description", "icon", "theme", "published",
                        "search_engine_index", "show_tags", "password", "created_date",
                        "modified_date", "footer_text", "custom_css", "show_powered_by",
                        "google_analytics_tag_id", "show_certificate_expiry"),
        "maintenance_status_page": ("id", "status_page_id", "maintenance_id"),
        "monitor_group": ("id", "monitor_id", "group_id", "weight", "send_url"),
        "monitor_maintenance": ("id", "monitor_id", "maintenance_id"),
        "notification": ("id", "name", "active", "user_id", "is_default", "config"),
        "monitor_notification": ("id", "monitor_id", "notification_id"),
        "tag": ("id", "name", "color", "created_date"),
        "monitor_tag": ("id", "monitor_id", "tag_id", "value"),
        "monitor_tls_info": ("id", "monitor_id", "info_json"),
        "setting": ("id", "key", "value", "type"),
        "api_key": ("id", "key", "name", "user_id", "created_date", "active", "expires"),
    },
    "2.0": {
        "heartbeat": ("end_time", "retries"),
        "stat_minutely": ("id", "monitor_id", "timestamp", "ping", "up", "down", "ping_min",
                          "ping_max", "extras"),
        "stat_hourly": ("id", "monitor_id", "timestamp", "ping", "ping_min", "ping_max", "up",
                        "down", "extras"),
        "stat_daily": ("id", "monitor_id", "timestamp", "ping", "up", "down", "ping_min",
                       "ping_max", "extras"),
        "remote_browser": ("id", "name", "url", "user_id"),
        "status_page": ("auto_refresh_interval", "analytics_id", "analytics_script_url"),
        "monitor_group": ("custom_url",),
        "maintenance": ("last_start_date",),
    },
    "2.5": {
        "heartbeat": ("response",),
        "status_page": ("show_only_last_heartbeat", "rss_title"),
        "domain_expiry": ("id", "last_check", "domain", "expiry"),
    },
}  # fmt: skip
VERSIONS = tuple(_MONITOR)


def columns(version: str) -> dict[str, dict[str, Any]]:
    """Return a version's tables, each with its columns and their default values."""
    found: dict[str, dict[str, Any]] = {"monitor": {}}
    for one in VERSIONS[: VERSIONS.index(version) + 1]:
        found["monitor"] |= _MONITOR[one]
        for table, names in _TABLES[one].items():
            found.setdefault(table, {}).update(dict.fromkeys(names))
    return found


def _type_of(column: str, default: Any) -> str:
    if column == "id":
        return f"{_NUMBER} PRIMARY KEY"
    if column in ("time", "created_date", "start_date", "end_date", "last_start_date"):
        return _MOMENT
    if column in ("timeout", "ping", "ping_min", "ping_max"):
        return "DOUBLE"
    if isinstance(default, int) or column in _WHOLE:
        return _NUMBER
    return _TEXT


_WHOLE = frozenset(
    (
        *("port", "parent", "status", "important", "active", "auth", "weight", "published", "up"),
        *("public", "down", "timestamp", "interval_day", "down_count", "is_default", "pin"),
        *("docker_host", "user_id", "proxy_id", "monitor_id", "tag_id", "group_id", "retries"),
        *("maintenance_id", "notification_id", "status_page_id", "manual_status"),
    )
)


def statements(
    version: str, rows: Mapping[str, list[dict[str, Any]]]
) -> list[tuple[str, list[Any]]]:
    """Return the SQL that makes a database: its tables, and rows with the columns that exist."""
    found: list[tuple[str, list[Any]]] = []
    for table, known in columns(version).items():
        types = ", ".join(f"`{name}` {_type_of(name, value)}" for name, value in known.items())
        found.append((f"CREATE TABLE `{table}` ({types})", []))
        for number, given in enumerate(rows.get(table, []), 1):
            row = {"id": number, **given}
            whole = {name: row.get(name, value) for name, value in known.items()}
            names = ", ".join(f"`{name}`" for name in whole)
            marks = ", ".join("?" * len(whole))
            question = f"INSERT INTO `{table}` ({names}) VALUES ({marks})"  # noqa: S608  of ours
            found.append((question, list(whole.values())))
    return found
