"""What goes into an adaptation and what comes out of it, as plain data. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# However short the time is, and how much of it there is for each video: opening and reading one takes about a quarter.
_FEWEST_VIDEOS, _SECONDS_A_VIDEO = 10, 4.0


@dataclass(frozen=True)
class CompactWeights:
    """The weights of the compact profile's two networks: those of the package, or of an earlier adaptation.

    Args:
        segmenter, tracker: safetensors files.
    """

    segmenter: Path
    tracker: Path


@dataclass(frozen=True)
class AdaptationLimits:
    """What an adaptation may use.

    Args:
        seconds: in all, over every resumption: reading, learning and measuring.
        memory_bytes: for the pictures that it learns from; the networks and their gradients take some 600 MB besides.
        threads: of PyTorch.
        iterations: that each network learns at most, however much time there is.
    """

    seconds: float = 600.0
    memory_bytes: int = 512 * 2**20
    threads: int = 2
    iterations: int = 600

    @property
    def most_videos(self) -> int:
        """How many videos it has the time to open and read."""
        return max(_FEWEST_VIDEOS, int(self.seconds / _SECONDS_A_VIDEO))


@dataclass(frozen=True)
class Progress:
    """How far an adaptation is.

    Args:
        share: 0..1 of its time.
        doing: what it does, a few words for people.
    """

    share: float
    doing: str


@dataclass(frozen=True)
class Comparison:
    """One figure before and after, in percent, on the same frames.

    Args:
        before, after: means.
        low, high: of the gain `after - before`, the bounds of its 95 % interval, bootstrapped over runs of frames in
            videos; -inf and inf where too few frames were judged.
        judged: how many masks were judged.
    """

    before: float
    after: float
    low: float
    high: float
    judged: int

    @property
    def gain(self) -> float:
        """How much better, in points; negative: worse."""
        return self.after - self.before


@dataclass(frozen=True)
class NetworkVerdict:
    """What was found of one network.

    Args:
        promote: whether the adapted one is better beyond doubt, and does no harm elsewhere.
        reason: a sentence for people, with the figures.
        held_out: on videos that it did not learn from; of the tracker the mean IoU of tracked masks, of the segmenter
            that after one and after three clicks. None where nothing could be judged.
        general: the same on the package's own validation set.
        videos: the gain on each held-out video, by its name; points.
        iterations: that it learnt.
    """

    promote: bool
    reason: str
    held_out: Comparison | None
    general: Comparison | None
    videos: tuple[tuple[str, float], ...] = ()
    iterations: int = 0


@dataclass(frozen=True)
class ComparedFrame:
    """A held-out frame as the networks of before, the learnt ones and people see it, side by side.

    Args:
        network: how people call it.
        choice: why this frame: the largest gain, the median, the largest loss.
        video: its name.
        frame: 0-based.
        before, after: how well the masks overlap with people's, percent.
        jpeg: three panels, of networks before, after, and of people; less than 200 kB.
    """

    network: str
    choice: str
    video: str
    frame: int
    before: float
    after: float
    jpeg: bytes


@dataclass(frozen=True)
class AdaptationOutcome:
    """What an adaptation came to. The two networks are judged by themselves: one may be promoted without the other.

    Args:
        promote: whether any network is better beyond doubt.
        reason: a sentence or two for people, with the figures.
        segmenter, tracker: what was found of each.
        segmenter_weights, tracker_weights: safetensors in the adaptation's folder of the networks that are promoted;
            None: the ones it began with stay in use.
        learnt_from, held_out: names of the videos.
        notes: what was left out and why, sentences for people.
        seconds: that it took, over all resumptions.
        peak_memory_bytes: of the process.
        pictures: of a few held-out frames, of both networks, whether they are promoted or not.
    """

    promote: bool
    reason: str
    segmenter: NetworkVerdict
    tracker: NetworkVerdict
    segmenter_weights: Path | None
    tracker_weights: Path | None
    learnt_from: tuple[str, ...]
    held_out: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float
    peak_memory_bytes: int
    pictures: tuple[ComparedFrame, ...] = ()
