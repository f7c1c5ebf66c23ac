"""Units of length, in nanometres."""

from connectomics.errors import GeometryError

NANOMETRES: dict[str, float] = {
    "angstrom": 0.1,
    "picometer": 1e-3,
    "nanometer": 1.0,
    "micrometer": 1e3,
    "millimeter": 1e6,
    "centimeter": 1e7,
    "decimeter": 1e8,
    "meter": 1e9,
    "inch": 2.54e7,
}
"""Nanometres in one unit, by the names that OME-Zarr uses."""

_OTHER_NAMES = {
    "å": "angstrom",
    "pm": "picometer",
    "nm": "nanometer",
    "nanometre": "nanometer",
    "um": "micrometer",
    "µm": "micrometer",
    "μm": "micrometer",
    "\\u00b5m": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "micrometre": "micrometer",
    "mm": "millimeter",
    "millimetre": "millimeter",
    "cm": "centimeter",
    "centimetre": "centimeter",
    "m": "meter",
    "metre": "meter",
}


def nanometres(unit: str, where: str) -> float:
    """How many nm one `unit` is, by its full name or its symbol.

    Raises
    ------
    GeometryError
        The unit is no length; `where` names the file.
    """
    lower = str(unit).strip().lower()
    name = _OTHER_NAMES.get(lower, lower)
    if name not in NANOMETRES:
        raise GeometryError(
            f"{where}: unit {unit!r} is not a length that is known ({', '.join(NANOMETRES)}). "
            "Give the voxel size in nm with --voxel-size Z Y X."
        )
    return NANOMETRES[name]


def is_length(unit: object) -> bool:
    """True when `nanometres` knows the unit."""
    lower = str(unit).strip().lower()
    return _OTHER_NAMES.get(lower, lower) in NANOMETRES
