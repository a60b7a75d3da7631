"""``python -m tam_backend`` is ``tam-backend``."""

from tam_backend.cli import main

if __name__ == "__main__":
    main()
