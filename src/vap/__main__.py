"""``python -m vap``."""

from vap.cli import main

main()
