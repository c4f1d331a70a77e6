"""python -m gokiq: the same as gokiq-fast."""

from gokiq.commands.entry import main

main()
