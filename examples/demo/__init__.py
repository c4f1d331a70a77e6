"""The demo: real Sidekiq and ActiveJob classes, 20,000 jobs, and proof that none was lost."""
