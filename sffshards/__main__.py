"""``python -m sffshards``."""

from sffshards.cli import main

if __name__ == "__main__":
    main()
