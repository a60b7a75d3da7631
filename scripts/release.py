"""Make a release: check, write the version and the changelog's heading, commit, tag. Pushes nothing.

    make release VERSION=0.2.0 ARGS=--dry-run

The version stands in one place, `__version__` of tam_backend/__init__.py; the package's metadata are made from it.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

VERSION_FILE = Path("tam_backend/__init__.py")
CHANGELOG = Path("CHANGELOG.md")
_ASSIGNMENT = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_UNRELEASED = "## Unreleased"


class ReleaseError(Exception):
    """Why there is no release, in a sentence that says what to do."""


@dataclass(frozen=True)
class Release:
    """What will be written.

    Args:
        version: of the release, in its normal form.
        texts: file (relative to the repository) -> its new content.
    """

    version: Version
    texts: dict[Path, str]

    @property
    def tag(self) -> str:
        """The name of the tag."""
        return f"v{self.version}"


def planned(root: Path, wanted: str, today: datetime.date) -> Release:
    """Check everything and return what is to be written. Changes nothing.

    Raises:
        ReleaseError: something has to be put right first.
    """
    source, changelog = (root / VERSION_FILE).read_text(), (root / CHANGELOG).read_text()
    version = _greater_version(source, wanted)
    if dirty := _git(root, "status", "--porcelain"):
        raise ReleaseError(f"The tree is not clean; commit or put away:\n{dirty}")
    release = Release(
        version,
        {
            VERSION_FILE: _ASSIGNMENT.sub(f'__version__ = "{version}"', source),
            CHANGELOG: _dated(changelog, version, today),
        },
    )
    if _git(root, "tag", "--list", release.tag):
        raise ReleaseError(f"There is a tag {release.tag} already. Choose a greater version.")
    return release


def carry_out(root: Path, release: Release) -> None:
    """Write, commit and tag; if git refuses the commit, everything is as it was before.

    Raises:
        ReleaseError: git refused.
    """
    before = {path: (root / path).read_text() for path in release.texts}
    try:
        for path, text in release.texts.items():
            (root / path).write_text(text)
        _git(root, "commit", "--quiet", "-m", f"Release {release.version}", "--", *map(str, release.texts))
    except ReleaseError:
        for path, text in before.items():
            (root / path).write_text(text)
        raise
    _git(root, "tag", "--annotate", "-m", f"tam-backend {release.version}", release.tag)


def _greater_version(source: str, wanted: str) -> Version:
    found = _ASSIGNMENT.findall(source)
    if len(found) != 1:
        raise ReleaseError(f'{VERSION_FILE} needs one line like __version__ = "0.1.0"; it has {len(found)}.')
    try:
        version = Version(wanted)
    except InvalidVersion:
        raise ReleaseError(f"{wanted!r} is no version. Write it like 0.2.0 or 0.2.0rc1.") from None
    if version <= Version(found[0]):
        raise ReleaseError(f"{version} does not come after {found[0]}. Choose a greater version.")
    return version


def _dated(changelog: str, version: Version, today: datetime.date) -> str:
    """Return the changelog with `## VERSION - DATE` as its newest heading, made of Unreleased where it is not there."""
    heading = f"## {version} - {today.isoformat()}"
    headings = re.findall(r"^## .*$", changelog, re.MULTILINE)
    if not headings or headings[0] not in (heading, _UNRELEASED):
        newest = f"begins with {headings[0]!r}" if headings else "has no section"
        raise ReleaseError(f"{CHANGELOG} {newest}. Its first section must be {_UNRELEASED!r} or {heading!r}.")
    section = changelog.split(headings[0] + "\n", 1)[1].split("\n## ", 1)[0]
    if not re.search(r"^- \S", section, re.MULTILINE):
        raise ReleaseError(f"{CHANGELOG} tells nothing under {headings[0]!r}. Add at least one line.")
    return changelog.replace(headings[0] + "\n", heading + "\n", 1)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout.rstrip()


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="make release", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", help="of the release, like 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="check, and tell what would be done")
    options = parser.parse_args(arguments)
    root = Path.cwd()
    try:
        release = planned(root, options.version, datetime.datetime.now(datetime.timezone.utc).date())
        if not options.dry_run:
            carry_out(root, release)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    verb = "Would commit" if options.dry_run else "Committed"
    print(f"{verb} {' and '.join(map(str, release.texts))} as release {release.version}, tag {release.tag}.")
    if not options.dry_run:
        print(f"Look at it (git show {release.tag}); then push the branch and the tag.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
