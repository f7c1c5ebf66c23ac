"""The whole story on one page each: what a command does, stage by stage."""
