"""Which files are pictures: those whose endings Pillow opens.

Pillow is imported only for files without an ending. Must not decode anything.
"""

import warnings
from collections import Counter
from os.path import splitext

from data.errors import DataError
from data.sources.folder_walk import Folder, readable

_ENDINGS = (
    ".apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .fit .fits .flc .fli .ftc .ftu .gbr "
    ".gif .icb .icns .ico .iim .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp "
    ".pbm .pcd .pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff "
    ".vda .vst .webp .xbm .xpm"
)
PICTURE_ENDINGS = frozenset(_ENDINGS.split())
"""Those that Pillow registers, without formats that it only names, and without EPS, for which it
runs Ghostscript."""
UNUSED_FORMATS = frozenset(("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))
MOST_ENDINGS = 5


def is_picture(folder: str, name: str, *, setting: str = "data.source") -> bool:
    """Return whether a file is a picture by its ending, or by its first bytes if it has none.

    Args:
        folder: Where the file lies.
        name: Of the file.
        setting: What messages call the setting, or argument, that names the folder.

    Raises:
        DataError: A file without an ending cannot be read.
    """
    ending = ending_of(name)
    return ending in PICTURE_ENDINGS or (not ending and _opens(f"{folder}/{name}", setting))


def ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case, such as `.png`; empty without one."""
    return splitext(name)[1].lower()


def _opens(path: str, setting: str) -> bool:
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            return picture.format not in UNUSED_FORMATS
    except Image.DecompressionBombError:
        return True  # a picture, and rejected as such where it is decoded
    except Exception as error:  # Pillow raises nearly anything on what is no picture
        if isinstance(error, OSError) and error.errno:
            raise DataError(
                f"{setting}: '{readable(path)}' cannot be read ({error.strerror}); repair that or "
                "move it away"
            ) from error
        return False


def kind_of(name: str, *, count: int = 2) -> str:
    """Return what a file that is no picture is called, such as `.heic files`."""
    noun = "file" if count == 1 else "files"
    ending = readable(ending_of(name))
    return f"{ending} {noun}" if ending else f"{noun} without an ending"


def count_kinds(folder: Folder) -> str:
    """Describe the files below a folder that are no pictures, such as `12 .heic files`."""
    kinds = Counter(ending_of(name) for inner in folder.below() for name in inner.others)
    return ", ".join(
        f"{count} {kind_of(f'file{ending}', count=count)}"
        for ending, count in kinds.most_common(MOST_ENDINGS)
    )


def others_held(folder: Folder) -> str:
    """The same in brackets, to follow a sentence; empty where there are none."""
    return f" ({kinds})" if (kinds := count_kinds(folder)) else ""
