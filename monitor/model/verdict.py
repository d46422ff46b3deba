"""What an observation means: a verdict, its certificates, and the values read from it."""

from dataclasses import field
from typing import Any

from monitor.model.observation import Failure, Observation, Reason
from monitor.records import statically_frozen
from monitor.units import Seconds, Timestamp


@statically_frozen(frozen=True, slots=True)
class Verdict:
    """
    Up, or down for exactly one reason.

    Attributes:
        reason: None if up.
        message: Why, for people, with the value that broke the rule; empty if up.
    """

    up: bool
    reason: Reason | None = None
    message: str = ""

    @classmethod
    def down(cls, failure: Failure) -> "Verdict":
        return cls(up=False, reason=failure.reason, message=failure.message)


UP = Verdict(up=True)


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Certificate:
    """
    One certificate of a chain, decoded; names as in RFC 4514 text.

    Attributes:
        names: Subject alternative names: DNS names and IP addresses. An address that is listed as a
            DNS name, and so covers nothing, is ``DNS:192.0.2.1``.
        serial: Lower-case hexadecimal.
        fingerprint: SHA-256, lower-case hexadecimal.
        constrained: Whether it limits the names that may be issued below it.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    serial: str
    not_before: Timestamp
    not_after: Timestamp
    fingerprint: str
    constrained: bool = False

    @property
    def lifetime(self) -> Seconds:
        return self.not_after - self.not_before


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Job:
    """
    What a worker process needs to judge one observation.

    Attributes:
        reference: The SHA-256 of the watched content when it was last seen; None before that.
        site: Its name, for the log.
        secrets: The site's and the check's secrets, so that no message quotes one: once a value is
            truncated or escaped for a message, a secret in it can no longer be recognised.
    """

    observation: Observation
    expect: tuple[tuple[str, Any], ...] = ()
    extract: Any = None
    watch: Any = None
    reference: str | None = None
    url: str = ""
    site: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Extracted:
    """
    One value read from an answer.

    Attributes:
        value: A number or, for a label, a short text; None if nothing was found.
        why: Why nothing was found, as a clause.
    """

    name: str
    value: float | str | None = None
    why: str = ""


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Content:
    """
    The content that is watched.

    Attributes:
        sha256: Lower-case hexadecimal; None if the content could not be read.
        why: Why it could not be read, as a clause.
    """

    sha256: str | None = None
    why: str = ""


@statically_frozen(frozen=True, slots=True, kw_only=True)
class Analysis:
    """
    What the analysis of an observation found.

    Attributes:
        chain: The final connection's certificates, leaf first.
        hop_chains: For each redirect, in order, its connection's certificates, leaf first.
        validity: The period of validity of the certificate that ends first in the chain that was
            trusted (or in the chain that was sent, if none was trusted); None without any.
        client: The client certificate that we could have shown on the final connection.
        broken: The key of every expectation that does not hold, not only of the first; ``watch``
            may be among them.
        extracted: In the order of the site's ``extract``.
        content: The watched content; None if the site watches nothing, and for an answer that is
            not as expected.
    """

    verdict: Verdict
    chain: tuple[Certificate, ...] = ()
    hop_chains: tuple[tuple[Certificate, ...], ...] = ()
    validity: tuple[Timestamp, Timestamp] | None = None
    client: Certificate | None = None
    broken: tuple[str, ...] = ()
    extracted: tuple[Extracted, ...] = ()
    content: Content | None = None
