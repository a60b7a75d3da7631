"""XMem's knobs under their usual names, checked once; Cutie has the same but for one."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tam_backend.errors import InvalidInputError


@dataclass(frozen=True)
class MemoryConfig:
    """How much XMem and Cutie remember. The numbers are those of XMem's evaluation (Cheng & Schwing, ECCV 2022).

    Args:
        mem_every: a frame joins the working memory when this many have passed since the last one that did.
        min_mid_term_frames: working frames that stay at a consolidation, the first frame included.
        max_mid_term_frames: working frames that bring about a consolidation, the first frame included.
        num_prototypes: elements that one consolidation adds to the long-term memory.
        max_long_term_elements: the long-term memory never holds more.
        top_k: memory elements that each query reads.
        enable_long_term: consolidate old frames; without it the oldest are dropped.
        enable_long_term_count_usage: count how much long-term elements are read, so that the least used go first;
            without it the oldest do.
        permanent_memory: keep frames with a human's mask for good; without it they age like any other.

    Raises:
        InvalidInputError: a number that makes no sense, alone or with the others.
    """

    mem_every: int = 5
    min_mid_term_frames: int = 5
    max_mid_term_frames: int = 10
    num_prototypes: int = 128
    max_long_term_elements: int = 10000
    top_k: int = 30
    enable_long_term: bool = True
    enable_long_term_count_usage: bool = True
    permanent_memory: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise InvalidInputError(f"{field.name} is {value!r}, not True or False.")
            elif isinstance(value, bool) or not isinstance(value, int):
                raise InvalidInputError(f"{field.name} is {value!r}, not a whole number.")
            elif value < 1 and not (field.name == "deep_update_every" and value == -1):
                special = ", or -1 for every memorised frame" if field.name == "deep_update_every" else ""
                raise InvalidInputError(f"{field.name} is {value}.", f"It must be 1 or above{special}.")
        if self.max_mid_term_frames <= self.min_mid_term_frames:
            raise InvalidInputError(
                f"max_mid_term_frames ({self.max_mid_term_frames}) is not above min_mid_term_frames "
                f"({self.min_mid_term_frames}), so a consolidation would have nothing to take.",
                "Raise the first or lower the second.",
            )
        if self.max_long_term_elements < self.num_prototypes:
            raise InvalidInputError(
                f"max_long_term_elements ({self.max_long_term_elements}) is below num_prototypes "
                f"({self.num_prototypes}), so one consolidation would not fit.",
                "Raise the first or lower the second.",
            )


@dataclass(frozen=True)
class XMemConfig(MemoryConfig):
    """How much XMem remembers; see `MemoryConfig`.

    Args:
        deep_update_every: frames between two updates of the sensory memory by the value encoder; -1: on every frame
            that is memorised, in place of the decoder's update.
    """

    deep_update_every: int = -1
