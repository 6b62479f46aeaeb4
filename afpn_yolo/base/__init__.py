"""What every room may use: it imports the standard library, and nothing of ours."""
