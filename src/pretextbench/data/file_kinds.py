"""Kinds of files that hold images which are not read as they are, and what to do with them."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


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
    _kind("tar tgz", "archives", "unpack them, `tar -xf FILE -C FOLDER`", False),
    _kind("gz bz2 xz zst", "packed files", "unpack them, `tar -xf FILE` if .tar is before {}, else `7z x FILE`", False),
    _kind("7z rar", "archives", "unpack them, `7z x FILE`", False),
    _kind("npy npz h5 hdf5 mat tfrecord tfrecords parquet lmdb mdb arrow pkl pickle pt", "arrays or records",
          "write each image of them to a PNG file", False),
)  # fmt: skip
GIVE = "Give the folder that holds the images; unpack archives first"
BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}


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


def unpacked(file: Path) -> str:
    """What to do with a file that was given for a folder."""
    name = re.sub(r"(\.tar)?\.[^.]+$", "", str(file))
    source, folder = shlex.quote(str(file)), shlex.quote(name)
    if file.suffix.lower() == ".zip":
        return f"{GIVE}: `unzip {source} -d {folder}`, and give {name}."
    if re.search(r"\.(tar(\.\w+)?|tgz|tbz2?|txz)$", file.name.lower()):
        return f"{GIVE}: `mkdir {folder} && tar -xf {source} -C {folder}`, and give {name}."
    how = " ".join(advice({file.suffix.lower(): 1}))
    return f"{GIVE}. {how}".rstrip()
