"""Finds what a reload changes: compares sites by name, then by everything else."""

from monitor.config.load import Config
from monitor.model import SiteChange


def diff(old: Config | None, new: Config) -> SiteChange:
    """Return the difference between two configurations; from None every site is added."""
    before = {site.name: site for site in old.sites} if old else {}
    after = {site.name for site in new.sites}
    return SiteChange(
        added=tuple(site for site in new.sites if site.name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(
            site for site in new.sites if site.name in before and site != before[site.name]
        ),
    )
