"""The command line: each command a few lines; nothing heavy is imported before a command runs."""
