"""Which files are images, which are passed over, and how to turn those that are not read into images that are."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Of desktops, cameras, NAS, version control and Python; hidden names, which begin with a dot, are passed over as well.
SYSTEM = re.compile(
    r"__macosx|__pycache__|thumbs\.db|ehthumbs.*\.db|desktop\.ini|@.*eadir.*|[@#]recycle|#snapshot|@tmp|@sharebin|"
    r"@recently-snapshot|\$recycle\.bin|lost\+found|system volume information|found\.\d{3}|\$extend|"
    r"network trash folder|temporary items|lightroom previews\.lrdata|node_modules"
)
TOOLS = re.compile(
    r"\.(git|hg|svn|dvc|idea|vscode|cache|config|venv|tox|trash.*|ipynb_checkpoints|.*_cache|apdisk|thumbnails|"
    r"spotlight.*|fseventsd|temporaryitems|documentrevisions.*|appledouble|@__thumb)"
)


@dataclass(frozen=True)
class Kind:
    """Files that hold images which are not read as they are."""

    suffixes: frozenset[str]
    name: str
    advice: str
    pictures: bool = True  # one file is one image


def _kind(suffixes: str, name: str, advice: str, pictures: bool = True) -> Kind:
    return Kind(frozenset(f".{suffix}" for suffix in suffixes.split()), name, advice, pictures)


MAGICK = "convert them, for example `magick mogrify -format {} *{}` (ImageMagick) in their folder"
KINDS = (
    _kind("heic heif avif", "photographs of phones", MAGICK.format("jpg", "{0}")),
    _kind("jp2 j2k jpx jxl jxr", "newer forms of JPEG", MAGICK.format("png", "{0}")),
    _kind("cr2 cr3 nef arw dng raf orf rw2 pef srw", "raw files of cameras", "develop them to JPEG or 16-bit TIFF"),
    _kind("ppm pgm pbm pnm tga psd xcf ico pcx exr hdr dds", "images", MAGICK.format("png", "{0}")),
    _kind("svg eps pdf ai", "drawings or documents", MAGICK.format("png", "{0}")),
    _kind("dcm nii mha mhd nrrd czi lif nd2 svs ndpi mrxs", "medical or microscope images", "export them to PNG"),
    _kind("mp4 mov avi mkv webm m4v mpg mpeg wmv", "films", "extract frames, `ffmpeg -i FILE -r 1 %04d.jpg`", False),
    _kind("zip", "archives", "unpack them, `unzip FILE -d FOLDER`", False),
    _kind("tar gz tgz bz2 xz zst", "archives", "unpack them, `tar -xf FILE -C FOLDER`", False),
    _kind("7z rar", "archives", "unpack them, `7z x FILE`", False),
    _kind("npy npz h5 hdf5 mat tfrecord tfrecords parquet lmdb mdb arrow pkl pickle pt", "arrays or records",
          "write each image of them to a PNG file", False),
)  # fmt: skip
BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}


def is_system(name: str) -> bool:
    """Whether a file or folder of this name is left by a desktop, a NAS or a tool, or is hidden."""
    return name.startswith(".") or SYSTEM.fullmatch(name.casefold()) is not None


def may_hold_images(name: str) -> bool:
    """Whether a hidden folder could be a user's own, such as a class `.hidden`: a tool is not known for its name."""
    return name.startswith(".") and TOOLS.fullmatch(name.casefold()) is None


def is_picture(suffix: str) -> bool:
    """Whether a file with this suffix is an image in a format that is not read."""
    return suffix in BY_SUFFIX and BY_SUFFIX[suffix].pictures


def pictures(ignored: Mapping[str, int]) -> int:
    """Images in formats that are not read; `ignored` counts files by suffix."""
    return sum(n for suffix, n in ignored.items() if is_picture(suffix))


def advice(ignored: Mapping[str, int]) -> Iterator[str]:
    """A sentence for each suffix whose files hold images: how many, what they are and how to use them."""
    for suffix, n in Counter(ignored).most_common():
        if kind := BY_SUFFIX.get(suffix):
            yield f"{n:,} {suffix} file(s) are not read ({kind.name}): {kind.advice.format(suffix)}."
