"""Cutie (XMem's successor) as a tracker: the network of the package `rf-cutie`, in our memory and by our protocol."""
