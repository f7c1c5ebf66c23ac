"""Predict a volume of any size tile by tile, with memory bounded by the tiles in flight."""
