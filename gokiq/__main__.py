"""python -m gokiq: the same as gokiq-fast."""

from gokiq.entry import main

main()
