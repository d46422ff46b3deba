"""
The core records: what is checked, what was seen, and what that means.

Every record is frozen (those of each check only for the type checker, see records.py), compares by
value and can be pickled: threads and processes exchange nothing else. Times are in seconds and
sizes in bytes (units.py). ``None`` means "no data"; 0 never does.

    site         what the administrator listed
    observation  what a probe saw
    verdict      the judgement of an observation
    state        what many checks together say about a site
    tables       row types of the tables of probes, expectations and readings
"""

from monitor.model.observation import (
    Answer,
    DnsAnswer,
    Failure,
    GrpcAnswer,
    Hop,
    HttpAnswer,
    IcmpAnswer,
    Observation,
    Phase,
    PushAnswer,
    Reason,
    TcpAnswer,
    TlsSession,
    WebSocketAnswer,
)
from monitor.model.site import (
    Confirm,
    RecurringWindow,
    SingleWindow,
    Site,
    SiteChange,
    Window,
)
from monitor.model.state import (
    Counters,
    Joint,
    Load,
    Past,
    Result,
    SiteState,
    Status,
    Transition,
    Vote,
    explained,
)
from monitor.model.tables import (
    ExpectationKind,
    Probe,
    ProbeKind,
    ReadingKind,
    SourceKind,
)
from monitor.model.verdict import (
    UP,
    Analysis,
    Certificate,
    Content,
    Extracted,
    Job,
    Verdict,
)
from monitor.units import Bytes, Seconds, Timestamp

__all__ = [
    "UP",
    "Analysis",
    "Answer",
    "Bytes",
    "Certificate",
    "Confirm",
    "Content",
    "Counters",
    "DnsAnswer",
    "ExpectationKind",
    "Extracted",
    "Failure",
    "GrpcAnswer",
    "Hop",
    "HttpAnswer",
    "IcmpAnswer",
    "Job",
    "Joint",
    "Load",
    "Observation",
    "Past",
    "Phase",
    "Probe",
    "ProbeKind",
    "PushAnswer",
    "ReadingKind",
    "Reason",
    "RecurringWindow",
    "Result",
    "Seconds",
    "SingleWindow",
    "Site",
    "SiteChange",
    "SiteState",
    "SourceKind",
    "Status",
    "TcpAnswer",
    "Timestamp",
    "TlsSession",
    "Transition",
    "Verdict",
    "Vote",
    "WebSocketAnswer",
    "Window",
    "explained",
]
