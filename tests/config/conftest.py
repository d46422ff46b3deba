"""A folder of configuration files, loaded with the tables of these tests."""

from pathlib import Path

import pytest

from monitor.config.load import Config, Tables, load
from monitor.errors import ConfigError
from tests.config.tables import TABLES


class Files:
    """A folder of YAML files, and what is needed to load them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, text: str | bytes | None = None, name: str = "sites.yaml") -> Config:
        """Load one file, written first if a text is given; an empty name means the folder."""
        if text is not None:
            self.write(name, text)
        return load(self.folder / name, TABLES, self.environ)

    def problems(self, text: str | bytes | None = None, name: str = "sites.yaml") -> list[str]:
        """Return the problems, with paths relative to the folder."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, name)
        return [str(problem).replace(f"{self.folder}/", "") for problem in caught.value.problems]


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def tables() -> Tables:
    return TABLES
