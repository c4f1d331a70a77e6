"""A small Rails shop, and a run of its jobs under Sidekiq and under gokiq-fast to compare."""
