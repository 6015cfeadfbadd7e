"""``python -m vap``."""

from vap.cli import main

if __name__ == "__main__":
    main()
