"""Real servers that the test command starts and stops itself."""
