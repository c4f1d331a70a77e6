"""The Ruby processes: started, connected, watched, replaced. What their deaths mean for jobs."""
