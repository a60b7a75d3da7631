"""Where networks and open sessions live."""
