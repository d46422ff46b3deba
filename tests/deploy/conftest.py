"""Fixtures that build the manifests under test."""

import shutil
import subprocess

import pytest

from tests.deploy.kubernetes import documents


@pytest.fixture
def kustomize():
    """
    Return a function that builds a folder, as ``kubectl apply --kustomize`` does.

    Debian has no kustomize and its kubectl has an old one, so any that the machine has is used.
    """
    programs = {"kubectl": ["kubectl", "kustomize"], "kustomize": ["kustomize", "build"]}
    command = next((words for name, words in programs.items() if shutil.which(name)), None)
    if command is None:
        pytest.skip("neither kubectl nor kustomize is installed")

    def kustomize(folder):
        done = subprocess.run([*command, folder], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return documents(done.stdout)

    return kustomize


@pytest.fixture
def build(kustomize):
    """Return such a function, which gives the built manifests by kind, one of each kind."""
    return lambda folder: {document["kind"]: document for document in kustomize(folder)}
