"""Artifacts: collections of versions, distinguished by their digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fake_wandb.runs import utc_now


@dataclass
class ArtifactVersion:
    """A version of an artifact, pending until all its files are uploaded."""

    id: str
    collection: ArtifactCollection
    digest: str
    client_id: str | None = None
    run: str | None = None
    description: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    pending_aliases: list[str] = field(default_factory=list)
    """The aliases to assign when the version is complete."""
    tags: list[str] = field(default_factory=list)
    history_step: int | None = None
    manifest: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    index: int | None = None
    """The number in the collection; None while the version is pending."""
    created_at: str = field(default_factory=utc_now)

    @property
    def state(self) -> str:
        return "PENDING" if self.index is None else "COMMITTED"

    @property
    def aliases(self) -> list[str]:
        aliases = self.collection.aliases
        return [alias for alias, index in aliases.items() if index == self.index]


@dataclass
class ArtifactCollection:
    """A named artifact: its versions in order."""

    id: str
    name: str
    type: str
    project: str
    all_versions: list[ArtifactVersion] = field(default_factory=list)
    """All versions, including pending ones."""
    aliases: dict[str, int] = field(default_factory=dict)
    created_at: str = field(default_factory=utc_now)

    @property
    def versions(self) -> list[ArtifactVersion]:
        """The complete versions, v0 first."""
        complete = (version for version in self.all_versions if version.index is not None)
        return sorted(complete, key=lambda version: version.index or 0)

    def find(self, alias: str) -> ArtifactVersion | None:
        """Find a version by alias, number (v0) or digest."""
        for version in self.versions:
            if alias in (f"v{version.index}", version.digest, *version.aliases):
                return version
        return None

    def find_by_digest(self, digest: str) -> ArtifactVersion | None:
        return next((each for each in self.versions if each.digest == digest), None)

    def add_aliases(self, version: ArtifactVersion, aliases: Sequence[Mapping[str, str]]) -> None:
        """Assign the aliases for this collection, now or when the version is complete."""
        names = [each["alias"] for each in aliases if each["artifactCollectionName"] == self.name]
        version.pending_aliases += names
        if version.index is not None:
            self._assign_aliases(version)

    def commit(self, version: ArtifactVersion) -> None:
        """Mark a version as complete and assign its aliases."""
        if version.index is None:
            version.index = len(self.versions)
            version.pending_aliases.append("latest")
        self._assign_aliases(version)

    def _assign_aliases(self, version: ArtifactVersion) -> None:
        assert version.index is not None
        self.aliases |= dict.fromkeys(version.pending_aliases, version.index)
        version.pending_aliases = []
