"""Volumes: reading by place and by voxel, views, and what is refused."""

import errno
import pickle
import subprocess
import sys

import numpy as np
import pytest

from connectomics.errors import FormatError, GeometryError, InputError, NoSpaceError
from connectomics.io.volume import Volume, describe_box
from connectomics.roi import Roi


def volume(array: np.ndarray, voxel_size=(40, 4, 4), offset=(80, 8, -4)) -> Volume:
    return Volume(array=array, voxel_size=voxel_size, offset=offset, name="drawn")


def counted(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int32).reshape(shape)


def test_a_roi_reads_the_voxels_it_covers():
    drawn = volume(counted(4, 5, 6))
    assert drawn.roi == Roi((80, 8, -4), (160, 20, 24))
    assert (drawn.read() == counted(4, 5, 6)).all()
    part = drawn.read(Roi((120, 12, 0), (40, 8, 12)))
    assert (part == counted(4, 5, 6)[1:2, 1:3, 1:4]).all()


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", "i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_read_is_native_and_c_ordered(dtype, order):
    stored = np.array(counted(3, 4, 5) % 2, dtype=dtype, order=order)
    read = volume(stored).read()
    assert read.dtype.isnative and read.flags.c_contiguous
    assert (read == stored).all()


def test_channels_come_along():
    drawn = volume(counted(2, 4, 5, 6))
    assert drawn.channels == 2 and drawn.shape == (4, 5, 6)
    assert (
        drawn.read_box((slice(1, 3), slice(None), slice(2, 3))) == counted(2, 4, 5, 6)[:, 1:3, :, 2:3]
    ).all()
    assert volume(counted(4, 5, 6)).channels is None


@pytest.mark.parametrize(
    "roi", [Roi((81, 8, -4), (40, 4, 4)), Roi((40, 8, -4), (80, 4, 4)), Roi((80, 8, -4), (200, 4, 4))]
)
def test_off_grid_or_outside_is_refused(roi):
    drawn = volume(counted(4, 5, 6))
    for act in (drawn.read, drawn.crop):
        with pytest.raises(GeometryError):
            act(roi)


@pytest.mark.parametrize(
    "box", [(slice(-1, 2),) * 3, (slice(0, 7),) * 3, (slice(0, 4, 2),) * 3, (slice(3, 1),) * 3]
)
def test_boxes_outside_are_refused(box):
    with pytest.raises(GeometryError, match="outside"):
        volume(counted(4, 5, 6)).read_box(box)


def test_a_crop_of_a_crop_is_a_view_in_its_place():
    array = counted(6, 8, 8)
    drawn = volume(array)
    inner = drawn.crop(Roi((120, 16, 0), (160, 20, 24))).crop(Roi((160, 20, 8), (80, 8, 8)))
    assert inner.offset == (160, 20, 8) and inner.shape == (2, 2, 2)
    assert (inner.read() == array[2:4, 3:5, 3:5]).all()
    inner.write_box((slice(0, 1),) * 3, np.full((1, 1, 1), -5, np.int32))
    assert array[2, 3, 3] == -5


def test_a_crop_keeps_chunks_only_where_they_still_line_up():
    drawn = Volume(np.zeros((8, 8, 8)), (1, 1, 1), (0, 0, 0), "drawn", chunks=(4, 4, 4))
    assert drawn.crop(Roi((4, 0, 0), (4, 8, 8))).chunks == (4, 4, 4)
    assert drawn.crop(Roi((2, 0, 0), (4, 8, 8))).chunks is None


class Broken:
    shape = (4, 5, 6)
    dtype = np.dtype("u1")

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getitem__(self, key):
        raise self.error

    def __setitem__(self, key, value):
        raise self.error


@pytest.mark.parametrize("error", [OSError("lost"), RuntimeError("zstd"), ValueError("")])
def test_a_backend_that_fails_is_a_format_error_naming_the_voxels(error):
    with pytest.raises(FormatError, match=r"drawn: .*\[1:2, 0:5, 3:6\]"):
        volume(Broken(error)).read_box((slice(1, 2), slice(None), slice(3, 6)))


def test_a_full_disk_says_so_and_other_write_errors_pass():
    box = (slice(0, 1),) * 3
    with pytest.raises(NoSpaceError, match="No space left"):
        volume(Broken(OSError(errno.ENOSPC, "No space left on device"))).write_box(box, np.zeros((1, 1, 1)))
    with pytest.raises(OSError, match="odd"):
        volume(Broken(OSError(errno.EIO, "odd"))).write_box(box, np.zeros((1, 1, 1)))


def test_writing_needs_the_shape_of_the_box_and_a_writable_array():
    with pytest.raises(GeometryError, match="shape"):
        volume(counted(4, 5, 6)).write_box((slice(0, 2),) * 3, np.zeros((2, 2, 1)))

    class Fixed:
        shape, dtype = (4, 5, 6), np.dtype("u1")

        def __getitem__(self, key):
            return np.zeros(self.shape)[key]

    for read_only in (volume(Fixed()), volume(Fixed()).crop(Roi((80, 8, -4), (80, 8, 8)))):
        with pytest.raises(InputError, match="for reading only"):
            read_only.write_box((slice(0, 2),) * 3, np.zeros((2, 2, 2)))


def test_a_volume_has_three_axes_and_a_size():
    with pytest.raises(GeometryError, match="shape"):
        volume(np.zeros((4, 4)))
    with pytest.raises(GeometryError, match="positive"):
        volume(np.zeros((4, 4, 4)), voxel_size=(0, 1, 1))
    with pytest.raises(GeometryError, match="voxel size"):
        volume(np.zeros((4, 4, 4)), voxel_size=(1, 1))


def test_a_volume_travels_to_a_worker():
    there = pickle.loads(pickle.dumps(volume(counted(4, 5, 6)).crop(Roi((120, 8, -4), (40, 4, 4)))))
    assert (there.read() == counted(4, 5, 6)[1:2, :1, :1]).all()


def test_describe_box():
    assert describe_box((slice(0, 2), slice(None), slice(3, None))) == "[0:2, 0:, 3:] (z, y, x)"


def test_importing_reads_no_library_of_a_format():
    code = (
        "import sys, connectomics.io.opening, connectomics.io.skeletons, "
        "connectomics.io.describe\n"
        "heavy = ('torch', 'zarr', 'h5py', 'tensorstore', 'tifffile', 'networkx')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
