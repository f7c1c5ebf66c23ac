"""Volumes and skeletons: read where they are, written as OME-Zarr and SWC."""
