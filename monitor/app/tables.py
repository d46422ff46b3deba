"""
The tables that are needed to read, check and describe a site list; part of the composition root.

Commands that only read a list need nothing else from the daemon.
"""

from monitor.analysis.expectations.table import EXPECTATIONS
from monitor.analysis.readings import READINGS
from monitor.app.voice import check_receiver
from monitor.config.load import Tables
from monitor.config.modules import SHIPPED
from monitor.metrics.families import RESERVED_LABELS
from monitor.probes.registry import PROBES
from monitor.sources.options import SOURCES

TABLES = Tables(
    probes=PROBES,
    expectations=EXPECTATIONS,
    readings=READINGS,
    reserved_labels=RESERVED_LABELS,
    modules=SHIPPED,
    sources=SOURCES,
    check_receiver=check_receiver,
)
