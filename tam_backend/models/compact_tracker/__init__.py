"""The compact profile's tracker: XMem's idea on MobileNetV2, with a memory that looks only near each place."""
