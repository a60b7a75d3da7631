"""XMem and its compact relative: masks on the following frames."""

from tam_backend.models.xmem.config import XMemConfig
from tam_backend.models.xmem.loading import load_xmem
from tam_backend.models.xmem.tracker import XMemTracker

__all__ = ["XMemConfig", "XMemTracker", "load_xmem"]
