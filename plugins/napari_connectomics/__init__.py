"""The napari plugin: it draws and computes nothing; widgets are in `widgets`, all else knows no GUI."""
