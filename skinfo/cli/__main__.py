"""python -m skinfo.cli."""

from skinfo.cli import main

main()
