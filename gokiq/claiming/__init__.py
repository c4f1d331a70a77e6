"""How many jobs are claimed, which, and when; the claims of the dead."""
