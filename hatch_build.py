"""Dependencies of the package: the pins of the requirement files, so that they are stated once."""

from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

NO_EXTRAS = ("dev", "examples")


class RequirementFiles(MetadataHookInterface):
    """Sets `dependencies` to requirements.txt, and an extra for each of the other files."""

    def update(self, metadata: dict) -> None:
        metadata["dependencies"] = self._pins("requirements.txt")
        files = sorted(Path(self.root).glob("requirements-*.txt"))
        extras = {file.stem.removeprefix("requirements-"): self._pins(file.name) for file in files}
        metadata["optional-dependencies"] = {name: pins for name, pins in extras.items() if name not in NO_EXTRAS}

    def _pins(self, name: str) -> list[str]:
        lines = (Path(self.root) / name).read_text().splitlines()
        return [line.partition("#")[0].strip() for line in lines if line.strip() and line[0] not in "#-"]
