"""Masks leave as files, and come back: indexed PNGs, overlay videos and contact sheets."""

from tam_backend.export.index_masks import MAX_OBJECT_ID, save_index_mask
from tam_backend.export.mask_files import MaskFile, load_mask, mask_ids, read_mask_file
from tam_backend.export.overlay_video import OverlayWriter
from tam_backend.export.painting import overlay
from tam_backend.export.palette import object_colour
from tam_backend.export.sheet import contact_sheet

__all__ = [
    "MAX_OBJECT_ID",
    "MaskFile",
    "OverlayWriter",
    "contact_sheet",
    "load_mask",
    "mask_ids",
    "object_colour",
    "overlay",
    "read_mask_file",
    "save_index_mask",
]
