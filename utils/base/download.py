"""Download a file over HTTPS, and give it its name only after its digest has been checked."""

import hashlib
import urllib.request
from pathlib import Path

from utils.base.files import file_fingerprint, write_text, written_beside
from utils.base.progress import progress

SECONDS_WITHOUT_DATA = 60
MEGABYTE = 10**6


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Refuse redirects to other protocols than HTTPS."""

    def redirect_request(self, request, file, code, message, headers, newurl):
        _require_https(newurl)
        return super().redirect_request(request, file, code, message, headers, newurl)


def _require_https(url: str) -> None:
    if not url.startswith("https://"):
        raise ValueError(f"expected an https:// address, found {url}")


def digest_path(path: Path) -> Path:
    """Return the path of the file that holds the SHA-256 of a downloaded file."""
    return path.with_name(f"{path.name}.sha256")


def download(url: str, path: Path, *, md5: str, limit: int) -> None:
    """Download `url` to `path`, and write its SHA-256 next to it.

    The publisher's `md5` must match. Certificates are verified, and each redirect must lead to HTTPS.
    Raises OSError if the connection or the disk fails. Raises ValueError if an address is not HTTPS, or if the file has
    another digest or more than `limit` bytes; no file is left then.
    """
    _require_https(url)
    opener = urllib.request.build_opener(_HttpsOnly)
    with opener.open(url, timeout=SECONDS_WITHOUT_DATA) as response, written_beside(path) as temporary:
        total = (response.length or limit) // MEGABYTE
        with open(temporary, "wb") as file, progress(total, unit="MB") as advance:
            while block := response.read(MEGABYTE):
                file.write(block)
                if file.tell() > limit:
                    raise ValueError(f"expected at most {limit / MEGABYTE:.0f} MB, found more")
                advance()
        _require_md5(temporary, md5)
        write_text(digest_path(path), f"{file_fingerprint(temporary)}  {path.name}\n")  # the format of sha256sum


def require_unchanged(path: Path, *, md5: str) -> None:
    """Raise ValueError if a downloaded file is not the one that was downloaded.

    Its SHA-256 was written then. For a file without one, the publisher's `md5` decides, and the SHA-256 is written.
    """
    found = file_fingerprint(path)
    if digest_path(path).is_file():
        expected = digest_path(path).read_text(encoding="utf-8").partition(" ")[0]
        if found != expected:
            raise ValueError(f"expected SHA-256 {expected}, found {found}")
        return
    _require_md5(path, md5)
    write_text(digest_path(path), f"{found}  {path.name}\n")


def _require_md5(path: Path, expected: str) -> None:
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != expected:
        raise ValueError(f"expected MD5 {expected}, found {found}")
