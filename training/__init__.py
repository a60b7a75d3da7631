"""How the embedded weights were made; the package never imports this."""
