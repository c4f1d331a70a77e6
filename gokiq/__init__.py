"""A drop-in replacement for the Sidekiq server process."""

__version__ = "0.1.0"
