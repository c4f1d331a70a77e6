"""What Sidekiq's API and Web UI read, and what its sets hold."""
