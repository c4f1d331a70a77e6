"""What HELLO tells about the app."""
