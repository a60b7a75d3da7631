"""What profiles are made of: kinds of segmenters and kinds of trackers, each with its weights.

A team's own kind is an object of these classes behind an entry point (kind_registry.py; docs/networks.md). Importable
without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from tam_backend.errors import MissingPackageError
from tam_backend.models.published import PublishedFile

if TYPE_CHECKING:
    import torch

    from tam_backend.models.protocols import Segmenter, TrackerFactory

Shared = TypeVar("Shared")


@dataclass(frozen=True)
class Package:
    """A Python package that a kind needs and that does not come with this one.

    Args:
        project: its name on PyPI, for people.
        module: what is imported of it: a package with modules below it.
        command: the one command that installs it.
    """

    project: str
    module: str
    command: str

    @property
    def is_installed(self) -> bool:
        """Whether it could be imported; it is not. A lone file of the same name is another project's."""
        try:
            spec = find_spec(self.module)
        except ModuleNotFoundError:  # what it would lie below is not there
            return False
        return spec is not None and spec.submodule_search_locations is not None

    def require(self) -> None:
        """Raise MissingPackageError, with the command, unless it is installed."""
        if not self.is_installed:
            raise MissingPackageError(
                f"The package {self.project} is needed, and is not installed.", f"Install it: `{self.command}`."
            )


@dataclass(frozen=True)
class Loading:
    """A profile on its way onto a device.

    Args:
        version: what its segmenter calls itself, for `model_version`.
        device: where its networks will live.
        shared: what its segmenter and its tracker have in common, once made.
    """

    version: str
    device: torch.device
    shared: dict[Hashable, object] = field(default_factory=dict)

    def once(self, key: Hashable, make: Callable[[], Shared]) -> Shared:
        """Return what `make` makes; for a key that was asked for before, the same object again."""
        if key not in self.shared:
            self.shared[key] = make()
        return cast("Shared", self.shared[key])


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What a kind of segmenter and a kind of tracker tell alike.

    Args:
        name: what users write before or after the plus: letters, digits, dots and hyphens.
        description: one line.
        speed: one line on how quick it is, with where that was measured; or that it was not.
        license: of its weights.
        release: of its weights' recipe; with their fingerprint it makes the version.
        embedded: its weights, if they come with a package: each recorded in the manifest beside it.
        published: the file of weights that is fetched otherwise; any one of these will do, the first is fetched.
        package: what it needs besides; None = nothing.
    """

    name: str
    description: str
    speed: str = "not measured"
    license: str = "not said"
    release: str = "1.0"
    embedded: tuple[Path, ...] = ()
    published: tuple[PublishedFile, ...] = ()
    package: Package | None = None

    @property
    def wanted(self) -> tuple[str, ...]:
        """What has to be brought, for people; nothing where the weights come with a package that is there."""
        weights = (f"{file.name} ({file.describe_size}), fetched once" for file in self.published[:1])
        return (*(() if self.package is None else (f"the package {self.package.project}",)), *weights)

    @property
    def embedded_mb(self) -> float:
        """How large the weights are that come with it."""
        return sum(path.stat().st_size for path in self.embedded if path.is_file()) / 1e6


@dataclass(frozen=True, kw_only=True)
class SegmenterKind(Kind):
    """A kind of segmenter.

    Args:
        build: makes one of its weights; imports torch only when called. Raises WeightsError.
        goes_with: the tracker of the profile that is listed for it.
        refines: whether it is put to doubtful tracked masks unless a call says otherwise.
    """

    build: Callable[[tuple[Path, ...], Loading], Segmenter]
    goes_with: str = "xmem"
    refines: bool = True


@dataclass(frozen=True, kw_only=True)
class TrackerKind(Kind):
    """A kind of tracker.

    Args:
        build: makes what makes one for each pass, of its weights; imports torch only when called. Raises WeightsError.
        side: the shorter side, in pixels, that frames are scaled to for it.
        explains: whether it tells what it read from memory (`TrackingStep.reading`). Where it does not, no mask is
            refined: nothing could tell whether the segmenter's answer is better.
    """

    build: Callable[[tuple[Path, ...], Loading], TrackerFactory]
    side: int = 480
    explains: bool = True
