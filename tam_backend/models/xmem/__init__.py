"""XMem as published: masks on the following frames from three memories."""

from tam_backend.models.xmem.loading import load_xmem
from tam_backend.models.xmem.tracker import XMemTracker
from tam_backend.models.xmem.xmem_config import XMemConfig

__all__ = ["XMemConfig", "XMemTracker", "load_xmem"]
