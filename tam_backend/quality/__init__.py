"""How far a mask is to be trusted."""
