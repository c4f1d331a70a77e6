"""Redis: connections, scripts, names of keys, and every verb spoken about jobs."""
