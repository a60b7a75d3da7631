"""What outlives a restart: all tables in one place."""
