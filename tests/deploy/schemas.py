"""The schemas of Kubernetes and of the Prometheus operator, asked strictly."""

from typing import Any

import kubernetes_validate


def assert_valid(document: dict[str, Any]) -> None:
    """The document has what its kind must have, and nothing that its kind has not."""
    if document["apiVersion"].startswith("monitoring.coreos.com/"):
        # It takes seconds, which every process would pay that only collects the tests
        import cloudcoil.models.prometheus_operator.v1 as operator  # noqa: PLC0415

        model = getattr(operator, document["kind"]).model_validate(document)
        # What the model does not know, it leaves out
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == document
    else:
        version = kubernetes_validate.latest_version()
        kubernetes_validate.validate(document, version, strict=True)
