"""The schemas of Kubernetes and of the Prometheus operator, applied strictly."""

from typing import Any

import kubernetes_validate


def assert_valid(document: dict[str, Any]) -> None:
    """Assert that the document has all keys that its kind requires, and no unknown ones."""
    if document["apiVersion"].startswith("monitoring.coreos.com/"):
        # It takes seconds, which a process that only collects the tests need not pay
        import cloudcoil.models.prometheus_operator.v1 as operator  # noqa: PLC0415

        model = getattr(operator, document["kind"]).model_validate(document)
        # The model leaves out what it does not know
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == document
    else:
        version = kubernetes_validate.latest_version()
        kubernetes_validate.validate(document, version, strict=True)
