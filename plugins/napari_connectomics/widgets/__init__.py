"""What draws: the only files of the plugin that import napari or Qt."""
