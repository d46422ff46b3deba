"""Settings of several places that are allowed and probably not meant: each gets a warning."""

import pytest

from monitor.app.tables import TABLES
from monitor.config.load import load_text

NATS = "servers: [nats://n.test:4222]"
JOB = "{url: push:job, push: {token: a-token-of-a-job, every: 5m}}"


@pytest.mark.parametrize(
    ("locations", "site", "said"),
    [
        (f"{{nats: {{{NATS}}}}}", "https://a.test", []),
        (
            f"{{nats: {{{NATS}}}, quorum: {{down: 1}}}}",
            "https://a.test",
            ["text:1:67: locations.quorum.down: 1 means that a single place turns a site down"],
        ),
        (
            f"{{nats: {{{NATS}}}, quorum: {{minimum: 1}}}}",
            "https://a.test",
            ["text:1:70: locations.quorum.minimum: 1 means that the last place with a vote"],
        ),
        (
            f"{{nats: {{{NATS}}}, quorum: {{}}}}",
            JOB,
            ["text:1:1: locations: the site 'job' reports itself, and to one place alone"],
        ),
        (f"{{nats: {{{NATS}}}}}", JOB, []),  # shards alone
    ],
)
def test_what_several_places_make_unsafe_is_told(locations, site, said):
    """A place that decides alone and a job that calls one place get a warning; shards do not."""
    config = load_text(f"locations: {locations}\nsites: [{site}]\n", TABLES, {})
    warned = [str(one) for one in config.warnings]
    assert len(warned) == len(said)
    assert all(one.startswith(start) for one, start in zip(warned, said, strict=True)), warned
