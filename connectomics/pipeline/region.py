"""The part of a volume that a run works on, in voxels of that volume."""

from dataclasses import dataclass

from connectomics.blockwise.grid import Box
from connectomics.errors import GeometryError
from connectomics.io.volume import Volume
from connectomics.pipeline.settings import RegionSettings
from connectomics.roi import IntTriple, Roi, Triple, triple


@dataclass(frozen=True)
class Region:
    """A box of a volume.

    Attributes
    ----------
    volume : Volume
        The whole input; networks may look beyond the region for context.
    box : tuple of slice
        The region in voxels of the volume.
    """

    volume: Volume
    box: Box

    @property
    def shape(self) -> IntTriple:
        """Voxels of the region (zyx)."""
        z, y, x = (s.stop - s.start for s in self.box)
        return z, y, x

    @property
    def offset(self) -> Triple:
        """Low corner of the region, nm (zyx)."""
        volume = self.volume
        return triple(
            [o + v * s.start for o, v, s in zip(volume.offset, volume.voxel_size, self.box, strict=True)]
        )

    def grown(self, by: IntTriple) -> Box:
        """The region with so many voxels more on every side, as far as the volume goes."""
        z, y, x = (
            slice(max(0, s.start - n), min(edge, s.stop + n))
            for s, n, edge in zip(self.box, by, self.volume.shape, strict=True)
        )
        return z, y, x

    def in_volume(self, box: Box) -> Box:
        """A box given in voxels of the region, in voxels of the volume."""
        z, y, x = (slice(s.start + o.start, s.stop + o.start) for s, o in zip(box, self.box, strict=True))
        return z, y, x


def select_region(volume: Volume, settings: RegionSettings, extent: Roi | None = None) -> Region:
    """The region that the settings name, snapped outwards to whole voxels.

    Parameters
    ----------
    volume
        What it is a region of.
    settings
        Names it in nm.
    extent
        Of the input, where `volume` is that at another voxel size: a region inside it is cut to the voxels
        that the volume has of it.

    Raises
    ------
    GeometryError
        The region does not lie inside the volume.
    """
    whole = volume.roi
    if settings.roi_offset is None and settings.roi_size is None:
        return Region(volume, volume.slices(whole))
    offset = triple(settings.roi_offset or whole.offset, "--roi-offset")
    size = settings.roi_size or Roi.from_corners(offset, whole.end).size
    asked = Roi(offset, triple(size, "--roi-size"))
    roi = asked.snap(volume.voxel_size, volume.offset)
    if extent is not None and extent.contains(asked):
        roi = roi.intersect(whole)
    if roi.empty or not whole.contains(roi):
        raise GeometryError(
            f"{volume.name}: the region from {roi.offset} to {roi.end} nm (z y x) does not lie inside the "
            f"volume, which spans {whole.offset} to {whole.end} nm. Change --roi-offset or --roi-size."
        )
    return Region(volume, volume.slices(roi))
