"""`python -m edgenext`."""

from edgenext.cli import main

main()
