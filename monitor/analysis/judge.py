"""
The verdict on one observation; worker processes run this.

Nothing in an observation makes these functions raise: if an answer reveals a bug, the one
expectation with the bug fails, and the bug is logged.
"""

import logging
from typing import Any

from monitor.analysis.certificate import why_not_accepted
from monitor.analysis.expectations.table import EXPECTATIONS
from monitor.analysis.readings import extract, look, why_changed
from monitor.analysis.seen import Seen, Unseen
from monitor.logs import fields
from monitor.model import UP, Analysis, Failure, HttpAnswer, Job, Reason, Verdict

_log = logging.getLogger(__name__)

_LONGEST_MESSAGE = 1000
_AS_EXPECTED = Analysis(verdict=UP)
"""One object for all answers without anything to report; a batch contains it only once."""
_CERTIFICATE_FAULTS = frozenset(
    {
        Reason.TLS_EXPIRED,
        Reason.TLS_NOT_YET_VALID,
        Reason.TLS_WRONG_HOST,
        Reason.TLS_UNTRUSTED,
    }
)


def judge_batch(jobs: tuple[Job, ...]) -> tuple[Analysis, ...]:
    """Judge each job, in order; never raises for anything in a job."""
    return tuple(map(judge, jobs))


def judge_at_once(job: Job, certificates: Analysis | None) -> Analysis | None:
    """
    Return the verdict on an answer that meets all expectations, if they only compare numbers.

    This takes some microseconds for any answer, so the engine calls it in the main thread. None
    leaves the answer to a worker: something does not hold, or must be decoded or searched.

    Args:
        certificates: What a worker found in the same certificates, with the verdict up; None if
            they must be decoded.
    """
    seen = job.observation
    if seen.failure or job.extract is not None or job.watch is not None:
        return None
    if seen.tls and certificates is None:
        return None
    if isinstance(seen.answer, HttpAnswer) and seen.answer.redirects:
        return None  # each may have certificates
    view = Seen(job, certificates.chain if certificates else None)
    for key, value in job.expect:
        if not EXPECTATIONS[key].only_compares(value) or _broken(key, value, view):
            return None
    return certificates if seen.tls else _AS_EXPECTED


def judge(job: Job) -> Analysis:
    """
    Judge one observation: its own failure decides, otherwise the first broken expectation.

    Certificates are always decoded, values are read from every complete answer, and the watched
    content is compared only if all expectations hold.
    """
    seen = Seen(job)
    failure = job.observation.failure
    broken = (
        {}
        if failure
        else {key: why for key, value in job.expect if (why := _broken(key, value, seen))}
    )
    content = None
    if job.watch is not None and not failure and not broken:  # an outage is not a change of content
        content = look(job.watch, seen)
        changed = why_changed(content, job.reference) if job.watch.fail else None
        if changed:
            broken["watch"] = Failure(Reason.BODY, changed)
    decisive = _explained(failure, seen) if failure else next(iter(broken.values()), None)
    found = Analysis(
        verdict=_verdict(decisive, seen),
        chain=seen.chain,
        hop_chains=seen.hop_chains,
        validity=seen.validity,
        client=seen.client,
        broken=tuple(broken),
        extracted=() if job.extract is None or failure else extract(job.extract, seen),
        content=content,
    )
    return _AS_EXPECTED if found == _AS_EXPECTED else found


def _verdict(decisive: Failure | None, seen: Seen) -> Verdict:
    if decisive is None:
        return UP
    # Messages go to logs, terminals and pages, so they are one printable line without secrets,
    # whatever the peer and the administrator wrote
    message = seen.plain(decisive.message, _LONGEST_MESSAGE)
    return Verdict(up=False, reason=decisive.reason, message=message)


def _broken(key: str, value: Any, seen: Seen) -> Failure | None:
    kind = EXPECTATIONS[key]
    try:
        why = kind.check(value, seen)
    except Unseen as error:
        why = str(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # also a panic of a Rust library, which is not an Exception
        _log.exception("expectation_bug", extra=fields(site=seen.site, expectation=key))
        why = f"{key} cannot be judged: {type(error).__name__}: {error}"
    return Failure(kind.reason, why) if why else None


def _explained(failure: Failure, seen: Seen) -> Failure:
    """Return the failure with details that only the decoded certificates show."""
    if failure.reason not in _CERTIFICATE_FAULTS:
        return failure
    tls = seen.observation.tls
    verdict = tls.verdict if tls else 0
    message = why_not_accepted(failure, verdict, seen.chain, seen.host, seen.observation.time)
    return Failure(failure.reason, message)
