"""Cutie's network as the package `rf-cutie` defines it, made without Hydra and without downloads.

Importable without torch.

Cheng et al., "Putting the Object Back into Video Object Segmentation", CVPR 2024.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tam_backend.models.kinds import Package

if TYPE_CHECKING:
    from cutie.model.cutie import CUTIE
    from omegaconf import DictConfig

CutieSize = Literal["base", "small"]
CUTIE_PACKAGE = Package("rf-cutie", "cutie", "pip install 'tam-backend[cutie]'")

_patching = threading.Lock()


def make_network(size: CutieSize) -> CUTIE:
    """Make a network with random weights, in eval mode, without gradients.

    Args:
        size: which of the two that were published: with a ResNet-50 or a ResNet-18 as image encoder.

    Raises:
        MissingPackageError: the package is not installed.
    """
    config = network_config(size)
    from cutie.model.cutie import CUTIE  # noqa: PLC0415 - an extra

    # Two calls of every frame would say so each time that Python forgets having told it.
    warnings.filterwarnings("ignore", r"`torch\.cuda\.amp\.autocast", FutureWarning, r"cutie\.")
    with _without_imagenet():
        network = CUTIE(config)
    return network.requires_grad_(False).eval()


def network_config(size: CutieSize) -> DictConfig:
    """Read the package's own description of a network: `model`, and nothing of how it is run.

    Raises:
        MissingPackageError: the package is not installed.
    """
    CUTIE_PACKAGE.require()
    import cutie.config  # noqa: PLC0415 - an extra
    from omegaconf import OmegaConf  # noqa: PLC0415

    folder = Path(cutie.config.__file__).parent / "model"
    model = OmegaConf.load(folder / "base.yaml")
    if size != "base":
        model = OmegaConf.merge(model, OmegaConf.load(folder / f"{size}.yaml"))
    return OmegaConf.create({"model": model})


@contextmanager
def _without_imagenet() -> Iterator[None]:
    """Keep the package from downloading weights for its ResNets, which those of a checkpoint would replace.

    It has no argument for that, so its functions are exchanged for the while; one network is made at a time.
    """
    from cutie.model.utils import resnet  # noqa: PLC0415 - an extra

    with _patching:
        own = {name: getattr(resnet, name) for name in ("resnet18", "resnet50")}
        for name, function in own.items():
            setattr(resnet, name, partial(_untrained, function))
        try:
            yield
        finally:
            for name, function in own.items():
                setattr(resnet, name, function)


def _untrained(function: Callable[..., Any], **named: Any) -> Any:
    return function(**{**named, "pretrained": False})
