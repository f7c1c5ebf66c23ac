"""From affinities to segments: fragments, region graph, agglomeration, stitching, relabelling, clean-up."""
