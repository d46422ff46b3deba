"""How to reach a Kubernetes API server: as a pod's service account, or with a kubeconfig."""

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.sources.ports import ReadYaml, UnreadableError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_UNSUPPORTED = {
    "exec": "runs a program; write a token, a tokenFile or a client certificate instead",
    "auth-provider": "needs a plug-in; write a token, a tokenFile or a client certificate instead",
}


@dataclass(frozen=True, slots=True)
class ApiServer:
    """
    An API server, and our credentials for it.

    Attributes:
        server: Its URL, without a slash at the end.
        verify: A file of authorities; True for the usual ones, False for none.
        certificate: Files of our own certificate and its key.
        token: Returns the current token, which changes every hour.
        descriptors: In-memory files that the paths above may lead to; the code that ends the access
            closes them.
    """

    server: str
    verify: str | bool = True
    certificate: tuple[str, str] | None = None
    token: Callable[[], str | None] = lambda: None
    descriptors: tuple[int, ...] = ()

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


def in_cluster(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> ApiServer:
    """
    Return the access that every pod has through its service account.

    Raises:
        UnreadableError: This is not a pod, or it has no token.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise UnreadableError("this is not a pod of a cluster; name a kubeconfig")
    if not (folder / "token").exists():
        raise UnreadableError(
            "the pod has no token of its service account; set automountServiceAccountToken: true"
        )
    shown = f"[{host}]" if ":" in host else host
    return ApiServer(
        f"https://{shown}:{port}", str(folder / "ca.crt"), token=_token_in(folder / "token")
    )


def from_kubeconfig(
    content: bytes, path: Path, context: str | None, read_yaml: ReadYaml
) -> ApiServer:
    """
    Return the access that a context of a kubeconfig describes.

    Raises:
        UnreadableError: It has no such context, or one that needs a program to log in.
    """
    try:
        config = read_yaml(content, str(path))
    except ValueError as error:
        raise UnreadableError(str(error)) from None
    if not isinstance(config, dict):
        raise UnreadableError(f"{path} is not a kubeconfig")
    chosen = context or config.get("current-context")
    wanted = _named(config, "contexts", "context", chosen, path)
    cluster = _named(config, "clusters", "cluster", wanted.get("cluster"), path)
    user = _named(config, "users", "user", wanted.get("user"), path) if wanted.get("user") else {}
    for key, why in _UNSUPPORTED.items():
        if user.get(key):
            raise UnreadableError(f"{path}: {key} of the user {why}")
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("http://", "https://")):
        raise UnreadableError(f"{path}: the cluster has no server such as https://10.0.0.1:6443")
    descriptors: list[int] = []
    verify: str | bool = _file_of(cluster, "certificate-authority", path, descriptors) or True
    if cluster.get("insecure-skip-tls-verify") is True:
        verify = False
    certificate = _file_of(user, "client-certificate", path, descriptors)
    private = _file_of(user, "client-key", path, descriptors)
    token_file = user.get("tokenFile")
    token = user.get("token")
    return ApiServer(
        server.rstrip("/"),
        verify,
        (certificate, private) if certificate and private else None,
        _token_in(path.parent / token_file) if token_file else lambda: token,
        tuple(descriptors),
    )


def _named(
    config: Mapping[str, Any], several: str, one: str, name: Any, path: Path
) -> Mapping[str, Any]:
    for item in config.get(several) or ():
        if isinstance(item, dict) and item.get("name") == name and isinstance(item.get(one), dict):
            found: Mapping[str, Any] = item[one]
            return found
    raise UnreadableError(f"{path} has no {one} {name!r}")


def _file_of(record: Mapping[str, Any], key: str, path: Path, descriptors: list[int]) -> str | None:
    """Return the path of a file that a kubeconfig names, or contains in base64."""
    if data := record.get(f"{key}-data"):
        try:
            content = base64.b64decode(str(data), validate=True)
        except binascii.Error:
            raise UnreadableError(f"{path}: {key}-data is not base64") from None
        # A key is never written to a disk
        descriptor = os.memfd_create(key, os.MFD_CLOEXEC)
        os.write(descriptor, content)
        descriptors.append(descriptor)
        return f"/proc/self/fd/{descriptor}"
    named = record.get(key)
    return str(path.parent / named) if isinstance(named, str) and named else None


def _token_in(path: Path) -> Callable[[], str]:
    def token() -> str:
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise UnreadableError(f"{path} holds no token") from None

    return token
