"""A reload is the difference between two configurations."""

from monitor.config.diff import diff
from monitor.model import SiteChange


def test_from_nothing_everything_is_added(files):
    """At the start every site is new, since there is no earlier configuration."""
    config = files.load("sites: [https://a.example, https://b.example]")
    assert diff(None, config) == SiteChange(added=config.sites)


def test_only_what_differs_is_in_the_difference(files):
    """Sites are matched by name, and one that is equal is not listed even if it moved."""
    old = files.load("sites: [https://a.example, https://b.example, https://c.example]")
    new = files.load(
        "sites: [https://d.example, https://b.example, {url: https://a.example, group: x}]"
    )
    d, _, a = new.sites
    assert diff(old, new) == SiteChange(added=(d,), removed=("c.example",), changed=(a,))


def test_a_changed_secret_is_a_changed_site(files):
    """A site counts as changed although its new secret is shown nowhere."""
    files.environ = {"TOKEN": "one"}
    old = files.load('sites: [{url: https://a.example, web: {token: "${TOKEN}"}}]')
    files.environ = {"TOKEN": "two"}
    new = files.load()
    assert diff(old, new) == SiteChange(changed=new.sites)
