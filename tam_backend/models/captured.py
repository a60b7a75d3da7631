"""Hundreds of small kernels launched as one: a method's work on a GPU, recorded as a CUDA graph for each set of shapes.

Launching a kernel from Python takes longer than most of these kernels run. A graph is launched at once, and repeats
exactly what was recorded: the same kernels on the same addresses. So a call copies its tensors to where the recording
expects them, and copies the answers away from where it leaves them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Owner = TypeVar("Owner")
Replay = Callable[[], None]
Record = Callable[[Callable[[], Any], torch.device], tuple[Any, Replay]]
"""Runs a function on a device: gives what it returned, and what fills that again with the function's next answer."""

_log = logging.getLogger(__name__)

# A recording takes as long as some ten calls: shapes that come once or twice are not worth it.
_PLAIN_CALLS = 2
# Of one method: each holds the memory of its arguments and answers.
_MOST_RECORDINGS = 8
_WARM_UP_CALLS = 2


def captured(
    method: Callable[Concatenate[Owner, Parameters], Answer],
) -> Callable[Concatenate[Owner, Parameters], Answer]:
    """Let a method of a network run as a CUDA graph, in inference mode on a GPU; elsewhere nothing changes.

    Its arguments and answers are tensors, tuples and data classes of tensors, or plain values. What it does may depend
    on their shapes and on plain values, not on the numbers in tensors. The network's weights must stay where they are.
    Its callers hold the device's lock.
    """
    name = f"_captured_{getattr(method, '__name__', 'method')}"

    @wraps(method)
    def call(self: Owner, /, *arguments: Parameters.args, **named: Parameters.kwargs) -> Answer:
        if named or not torch.is_inference_mode_enabled() or not _on_gpu(arguments):
            return method(self, *arguments, **named)
        recordings = self.__dict__.setdefault(name, Recordings(partial(method, self), record_graph))
        answer: Answer = recordings(*arguments)
        return answer

    return call


class Recordings:
    """A function of tensors with one recording for each set of shapes; those not used for longest give way.

    Args:
        function: what `captured` says of a method.
        record: makes a recording; `record_graph` on a GPU.
    """

    def __init__(self, function: Callable[..., Any], record: Record) -> None:
        self._function = function
        self._record = record
        self._seen: OrderedDict[Hashable, int] = OrderedDict()
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._refused: set[Hashable] = set()

    def __len__(self) -> int:
        return len(self._recordings)

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function would; the answer is the caller's to keep."""
        shape = _shape(arguments)
        recording = self._recordings.get(shape)
        if recording is None:
            if shape in self._refused or not self._is_worth_it(shape):
                return self._function(*arguments)
            try:
                recording = self._new_recording(arguments)
            except RuntimeError as error:  # no memory for it, or something that cannot be recorded
                _log.warning("The GPU goes on kernel by kernel: %s", error)
                self._refused.add(shape)
                return self._function(*arguments)
            self._recordings[shape] = recording
            if len(self._recordings) > _MOST_RECORDINGS:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(shape)
        return recording(arguments)

    def _is_worth_it(self, shape: Hashable) -> bool:
        seen = self._seen.pop(shape, 0)
        self._seen[shape] = seen + 1
        if len(self._seen) > 4 * _MOST_RECORDINGS:
            self._seen.popitem(last=False)
        return seen >= _PLAIN_CALLS

    def _new_recording(self, arguments: Sequence[Any]) -> _Recording:
        given = _rebuilt(tuple(arguments), lambda tensor: tensor.clone(memory_format=torch.preserve_format))
        tensors = _tensors(given)
        answer, replay = self._record(lambda: self._function(*given), tensors[0].device)
        return _Recording(tensors, answer, replay)


@dataclass(frozen=True, eq=False)
class _Recording:
    """A function recorded.

    Args:
        given: where it reads its tensors.
        answer: where it leaves its answer.
        replay: runs it.
    """

    given: Sequence[Tensor]
    answer: Any
    replay: Replay

    def __call__(self, arguments: Sequence[Any]) -> Any:
        for place, tensor in zip(self.given, _tensors(arguments), strict=True):
            place.copy_(tensor)
        self.replay()
        return _rebuilt(self.answer, Tensor.clone)


def record_graph(function: Callable[[], Any], device: torch.device) -> tuple[Any, Replay]:
    """Record a function's kernels as a CUDA graph."""
    with torch.cuda.device(device):
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # nothing can be recorded on the stream that all begin with
            for _ in range(_WARM_UP_CALLS):  # libraries set themselves up, which cannot be recorded
                function()
            graph = torch.cuda.CUDAGraph()
            answer = _recorded(graph, function, _keeper(device).pool())
        torch.cuda.current_stream().wait_stream(beside)

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return answer, replay


@cache
def _keeper(device: torch.device) -> torch.cuda.CUDAGraph:
    """Return a graph that holds the memory of what is between kernels: one room, since graphs never run side by side.

    It does nothing and is never let go: a room that no graph uses any more cannot be entered again.
    """
    keeper = torch.cuda.CUDAGraph()
    _recorded(keeper, lambda: torch.zeros(1, device=device), torch.cuda.graph_pool_handle())
    return keeper


def _recorded(graph: torch.cuda.CUDAGraph, function: Callable[[], Any], room: Any) -> Any:
    """Record what a function launches on the current stream; return its answer, which is there after a replay.

    `torch.cuda.graph` does the same, but first collects garbage and gives back all free memory: half a second.
    """
    torch.cuda.current_stream().synchronize()
    # Other threads go on using the GPU meanwhile: they bring the next frames there.
    graph.capture_begin(pool=room, capture_error_mode="thread_local")
    try:
        answer = function()
    except BaseException:
        with suppress(RuntimeError):  # which would say of the recording what was wrong with the function
            graph.capture_end()
        raise
    graph.capture_end()
    return answer


def _on_gpu(arguments: Sequence[Any]) -> bool:
    tensors = _tensors(arguments)
    return bool(tensors) and tensors[0].is_cuda


def _tensors(value: Any) -> list[Tensor]:
    """Return the tensors in a value, in a fixed order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for each in value for tensor in _tensors(each)]
    if is_dataclass(value):
        return [tensor for each in fields(value) for tensor in _tensors(getattr(value, each.name))]
    return []


def _shape(value: Any) -> Any:
    """Return what tells recordings apart, to be looked up: sizes, precision, device and plain values."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    if isinstance(value, tuple | list):
        return tuple(_shape(each) for each in value)
    if is_dataclass(value):
        return type(value), tuple(_shape(getattr(value, each.name)) for each in fields(value))
    return value


def _rebuilt(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a copy of a value with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple | list):
        return tuple(_rebuilt(each, change) for each in value)
    if is_dataclass(value):
        kind: Any = type(value)
        return kind(**{each.name: _rebuilt(getattr(value, each.name), change) for each in fields(value)})
    return value
