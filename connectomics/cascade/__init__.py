"""Coarse-to-fine detection: its theory, thresholds that keep a promised recall, a plan, the selection."""
