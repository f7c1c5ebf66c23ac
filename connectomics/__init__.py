"""Segment X-ray and electron-microscopy volumes of the brain, with errors known."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("xray-connectomics")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
