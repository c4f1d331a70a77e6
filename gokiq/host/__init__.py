"""The machine: processes, cgroups, systemd, terminal."""
