"""Applications that show gokiq at work."""
