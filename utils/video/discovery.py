"""Find the videos in a folder of class folders: video files, and folders of numbered pictures."""

import os
import unicodedata
from dataclasses import dataclass, field

from utils.base.errors import UserError
from utils.data.split_lists import SET_FOLDERS
from utils.video.containers import VIDEO_SUFFIXES, has_video_signature
from utils.video.pictures import PICTURE_SUFFIXES, numbered_names

LEAVES = "links to a path outside the input folder; --follow_links would read it"
UNSORTED = "lies directly in the input folder, so it has no class"


@dataclass(frozen=True)
class FoundVideo:
    """A video: its path, and the reason not to read it, if there is one.

    path: relative to the input folder, with `/`; its first part is the class, in the composed Unicode form, and in a
    data set of set folders the second part the set. file: the same in the file system, if that differs.
    """

    path: str
    problem: str | None = None
    file: str | None = field(default=None, repr=False)

    @property
    def below(self) -> str:
        """The path in the file system, relative to the input folder."""
        return self.file or self.path


def find_videos(input_path: str | os.PathLike, *, follow_links: bool = False) -> list[FoundVideo]:
    """Return all videos below `input_path`, sorted by path. The first folder of a path is the video's class.

    If all folders are named like train, val and test, the classes are the folders below them. Subfolders are searched.
    Symbolic links are followed if their targets are below `input_path`, or if `follow_links` is true; links to other
    videos and folders are returned with a problem, and so are folders without videos. A folder is searched once per
    class. Hidden files, files that are no videos and nested `Annotation` folders (UCF11) are ignored.
    Raises UserError if `input_path` cannot be listed.
    """
    try:
        entries = _visible_entries(input_path)
    except OSError as error:
        raise UserError(f"--input_path: {input_path} cannot be listed: {error.strerror}") from None
    search = _Search(os.path.realpath(input_path), follow_links)
    found = []
    sets = _set_folders(entries)
    for entry in entries:
        if entry in sets:
            for class_entry in _visible_entries(entry.path):
                if os.path.isdir(class_entry.path):
                    found += search.of_class(class_entry, f"/{entry.name}", f"{entry.name}/{class_entry.name}")
        elif os.path.isdir(entry.path):
            found += search.of_class(entry, "", entry.name)
        elif is_video_file(entry):
            found.append(FoundVideo(entry.name, UNSORTED))
    return _without_twins(sorted(found, key=lambda video: (video.path, video.below)))


def videos_below(folder: str | os.PathLike) -> list[FoundVideo]:
    """Return the videos below a folder without classes, sorted; `path` includes the folder, which may be one itself."""
    return sorted(_Search("", True).in_folder(str(folder), str(folder), str(folder)), key=lambda video: video.path)


def is_video_file(entry: os.DirEntry) -> bool:
    """Return whether a file is a video by its suffix or, if that says nothing, by its first bytes."""
    suffix = os.path.splitext(entry.name)[1].lower()
    return suffix in VIDEO_SUFFIXES or (suffix not in PICTURE_SUFFIXES and has_video_signature(entry.path))


def _visible_entries(folder: str | os.PathLike) -> list[os.DirEntry]:
    return sorted((entry for entry in os.scandir(folder) if entry.name[0] != "."), key=lambda entry: entry.name)


def _set_folders(entries: list[os.DirEntry]) -> list[os.DirEntry]:
    """Return the folders if they are train, test and the like, with the same classes as subfolders; otherwise none."""
    folders = [entry for entry in entries if os.path.isdir(entry.path)]
    if len(folders) < 2 or any(entry.name.casefold() not in SET_FOLDERS for entry in folders):
        return []
    classes = [{below.name for below in _visible_entries(entry.path) if os.path.isdir(below.path)} for entry in folders]
    return folders if set.intersection(*classes) else []


def _found(path: str, problem: str | None, below: str) -> FoundVideo:
    return FoundVideo(path, problem, None if below == path else below)


def _without_twins(found: list[FoundVideo]) -> list[FoundVideo]:
    """Give videos a problem whose path an earlier one has, as two Unicode forms of a class can give them."""
    twin = "has the path of another video, whose class is written in another Unicode form"
    pairs = zip(found, [None, *found])
    return [
        FoundVideo(video.path, twin, video.file) if before and video.path == before.path else video
        for video, before in pairs
    ]


class _Search:
    """Searches folders; links must not leave the real path `root` unless `follow_links` is true."""

    def __init__(self, root: str, follow_links: bool):
        self._root, self._limit = root, None if follow_links else root
        self._searched: set[str] = set()

    def of_class(self, entry: os.DirEntry, set_part: str, below: str) -> list[FoundVideo]:
        """Return the videos of a class folder; `set_part` follows the class in their paths."""
        path = unicodedata.normalize("NFC", entry.name) + set_part
        if self._leaves(entry):
            return [_found(path, LEAVES, below)]
        self._searched = {self._root}
        found = self.in_folder(entry.path, path, below, is_class=True)
        return found or [_found(path, "is a class folder without videos", below)]

    def in_folder(self, folder: str, path: str, below: str, *, is_class: bool = False) -> list[FoundVideo]:
        """Return the videos of a folder; those of links to folders that were searched are left out."""
        real_path = os.path.realpath(folder)
        if real_path in self._searched:
            return []
        self._searched.add(real_path)
        try:
            entries = _visible_entries(folder)
        except OSError as error:
            return [_found(path, f"is a folder that cannot be listed: {error.strerror}", below)]
        found, pictures = [], []
        for entry in entries:
            problem = LEAVES if self._leaves(entry) else None
            names = (f"{path}/{entry.name}", problem, f"{below}/{entry.name}")
            if os.path.isdir(entry.path):
                found += self._in_subfolder(entry, *names)
            elif os.path.splitext(entry.name)[1].lower() in PICTURE_SUFFIXES:
                pictures.append((entry.name, problem))
            elif is_video_file(entry):
                found.append(_found(*names))
        if pictures and not found:
            problem = next((problem for _, problem in pictures if problem), None)
            found = self._of_pictures([name for name, _ in pictures], path, problem, below, is_class)
        return found

    def _in_subfolder(self, entry: os.DirEntry, path: str, problem: str | None, below: str) -> list[FoundVideo]:
        if entry.name.casefold() == "annotation":
            return []
        if problem:
            return [_found(path, problem, below)]
        found = self.in_folder(entry.path, path, below)
        if not found and os.path.splitext(entry.name)[1].lower() in VIDEO_SUFFIXES:
            return [_found(path, "is a folder without videos", below)]
        return found

    def _of_pictures(
        self, names: list[str], path: str, problem: str | None, below: str, is_class: bool
    ) -> list[FoundVideo]:
        """Return a folder of pictures as a clip, or why it is none; a single picture is no clip."""
        numbered = numbered_names(names)
        if len(names) == 1 and not numbered:
            return []
        if is_class:
            problem = f"holds {len(names)} pictures; the frames of a clip need a folder of their own below the class"
        elif not numbered:
            problem = f"holds {len(names)} pictures that are not numbered as the frames of one clip"
        return [_found(path, problem, below)]

    def _leaves(self, entry: os.DirEntry) -> bool:
        """Return whether an entry is a link whose target is not below the limit."""
        if self._limit is None or not entry.is_symlink():
            return False
        return os.path.commonpath((self._limit, os.path.realpath(entry.path))) != self._limit
