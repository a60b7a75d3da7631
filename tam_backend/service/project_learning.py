"""Networks that learn from a project, as a job like any other: when one begins, and what becomes of what it learnt."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tam_backend.adaptation.outcome import AdaptationLimits, AdaptationOutcome, Comparison, Progress
from tam_backend.errors import InvalidInputError, StoreError
from tam_backend.jobs.records import Intent
from tam_backend.jobs.registry import Job
from tam_backend.models import zoo
from tam_backend.problems import ProblemLog
from tam_backend.service.adapting_process import STOPPED, Learnt, Order
from tam_backend.settings import Settings
from tam_backend.store.adapted_networks import AdaptedNetworks, AdaptedVersion, Figure, Findings, PictureNote
from tam_backend.store.unlearnt_videos import UnlearntVideos

Learn = Callable[[Order, Callable[[Progress], None], Callable[[], bool]], Learnt]
"""Does what an order says; `learn_elsewhere` does, in a process of its own."""


class Learning:
    """Thread-safe.

    Args:
        settings: of the backend.
        adapted: keeps what was learnt.
        unlearnt: counts what was submitted since.
        problems: told of what goes wrong.
        learn: does the work.
    """

    def __init__(
        self,
        settings: Settings,
        adapted: AdaptedNetworks,
        unlearnt: UnlearntVideos,
        problems: ProblemLog,
        learn: Learn,
    ) -> None:
        self._settings = settings
        self._adapted = adapted
        self._unlearnt = unlearnt
        self._problems = problems
        self._learn = learn

    def asked_for(self, project: str) -> Intent | None:
        """Return what there is to do when somebody pressed Start training; None: nothing, and why is told."""
        where = f"project {project}, start training"
        if self._settings.adapt == "off":
            self._problems.note(where, "Learning is switched off here.", "Set TAM_ADAPT=asked, or auto.")
            return None
        if not zoo.is_adaptable(self._settings.profile):
            self._problems.failed(where, cannot_learn(self._settings.profile))
            return None
        return self._intent(project)

    def submitted(self, project: str, video: str) -> Intent | None:
        """Return what there is to do when an annotation of a video was submitted: with TAM_ADAPT=auto, now and then.

        What came to nothing is tried again with the next video; with each annotation it would be too often.
        """
        if self._settings.adapt != "auto" or not zoo.is_adaptable(self._settings.profile):
            return None
        try:
            enough = self._unlearnt.submitted(project, video) >= self._settings.adapt_after
        except StoreError as error:  # the annotation itself must go on
            self._problems.failed(f"project {project}, what was submitted since its networks learnt", error)
            return None
        return self._intent(project) if enough else None

    def _intent(self, project: str) -> Intent:
        return Intent.to_adapt(project, 60 * self._settings.adapt_minutes, only_if_new=True)

    def carry_out(self, intent: Intent, job: Job, threads: int = 1) -> AdaptedVersion | None:
        """Do what an adaptation's job is to do; what it comes to serves the project at once, if it is better.

        Args:
            intent: of the job.
            job: told how far it is; ends the work when it is cancelled.
            threads: of the networks that learn.

        Returns:
            The new version, promoted or refused; None where nothing was new.

        Raises:
            CancelledError: the job was cancelled; what was learnt so far stays for the next time.
            OutputError: the disk is full.
            TamError: what `learn` raises. Nothing has changed.
        """
        project, base = intent.project, zoo.profile(self._settings.profile).version
        order = Order(
            self._settings,
            project,
            AdaptationLimits(intent.adapt_s, threads=threads, iterations=self._settings.adapt_iterations),
            folder_of(self._settings, project),
            self._adapted.newest_stamp(project, base) if intent.only_if_new else "",
        )
        noted = self._unlearnt.noted(project)  # what is submitted from now on may come too late to be learnt
        job.measured(0, 100)

        def told(progress: Progress) -> None:
            job.measured(round(100 * progress.share), 100)
            job.to("running", progress.doing)

        job.to("running", "starting")
        try:
            learnt = self._learn(order, told, lambda: job.cancel_requested)
        except KeyboardInterrupt:  # Ctrl-C on the command line
            job.cancel(STOPPED)
            raise
        if learnt.outcome is None:
            self._unlearnt.learnt(project, noted)
            job.to("running", "Nothing was submitted since the last time.")
            return None
        made = self._keep(project, base, learnt, learnt.outcome)
        self._unlearnt.learnt(project, noted)
        job.measured(100, 100)
        job.to("running", f"{made.state.capitalize()}: {made.name}. {made.findings.reason}")
        shutil.rmtree(order.folder, ignore_errors=True)
        return made

    def _keep(self, project: str, base: str, learnt: Learnt, outcome: AdaptationOutcome) -> AdaptedVersion:
        weights = {"segmenter": outcome.segmenter_weights, "tracker": outcome.tracker_weights}
        files = {name: path.read_bytes() for name, path in weights.items() if path is not None and outcome.promote}
        findings = replace(findings_of(outcome), notes=(*learnt.left_out, *outcome.notes))
        return self._adapted.add(project, base, learnt.stamp, findings, files, _pictures_of(outcome))


def _pictures_of(outcome: AdaptationOutcome) -> list[tuple[PictureNote, bytes]]:
    return [
        (PictureNote(each.network, each.choice, each.video, each.frame, each.before, each.after), each.jpeg)
        for each in outcome.pictures
    ]


def folder_of(settings: Settings, project: str) -> Path:
    """Return where a project's networks are while they learn; nothing else is there."""
    return settings.data_dir / "adapting" / f"project-{int(project)}"


def cannot_learn(profile: str) -> InvalidInputError:
    """Return what is said where networks of a profile were to learn that cannot."""
    return InvalidInputError(
        f"The networks of the profile {profile} do not learn from projects.", "Use the profile compact: TAM_PROFILE."
    )


def findings_of(outcome: AdaptationOutcome) -> Findings:
    """Return what is kept of an outcome."""
    compared: Sequence[tuple[str, Comparison | None]] = (
        ("tracked masks, on videos kept apart", outcome.tracker.held_out),
        ("tracked masks, in general", outcome.tracker.general),
        ("clicked masks, on videos kept apart", outcome.segmenter.held_out),
        ("clicked masks, in general", outcome.segmenter.general),
    )
    figures = tuple(
        Figure(name, each.before, each.after, each.low, each.high) for name, each in compared if each is not None
    )
    return Findings(
        outcome.reason, figures, outcome.learnt_from, outcome.held_out, tuple(outcome.notes), outcome.seconds
    )
