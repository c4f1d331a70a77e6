"""What is told to probes, Prometheus and `status`: reads the others, changes nothing."""
