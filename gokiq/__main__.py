"""python -m gokiq: the same as gokiq-fast."""

from gokiq.cli import main

main()
