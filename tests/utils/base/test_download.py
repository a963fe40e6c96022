"""Downloads use HTTPS from the first address to the last, and a file has its name only if its digest is right."""

import hashlib
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from utils.base.download import digest_path, download

CONTENT = bytes(range(256)) * 10_000  # 2.56 MB
MD5 = hashlib.md5(CONTENT).hexdigest()
LIMIT = 10**7


class Server(ThreadingHTTPServer):
    """A server of `CONTENT` that notes the paths asked for; `/to?ADDRESS` redirects there."""

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.address = f"http{'s' * bool(certificate)}://localhost:{self.server_port}"

    def handle_error(self, request, client_address):
        """Print nothing if a client rejects the certificate."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to?"))
            self.end_headers()
            return
        self.send_response(404 if self.path == "/absent" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1_500_000] if self.path == "/short" else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of localhost and its key, made by openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    names = (folder / "certificate.pem", folder / "key.pem")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    command = [*command.split(), "-out", str(names[0]), "-keyout", str(names[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return names


@pytest.fixture
def serve(request):
    """A function that starts a Server in a thread; it ends with the test."""

    def start(certificate=None):
        server = Server(certificate)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        request.addfinalizer(lambda: (server.shutdown(), thread.join(), server.server_close()))
        return server

    return start


@pytest.fixture
def secure(serve, certificate, monkeypatch):
    """A server whose certificate is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("no_proxy", "localhost")
    return serve(certificate)


def test_a_file_is_downloaded_after_a_redirect(secure, tmp_path):
    """The published weights, which GitHub serves after a redirect, could not be downloaded."""
    path = tmp_path / "new" / "weights.h5"
    download(f"{secure.address}/to?{secure.address}/file", path, md5=MD5, limit=LIMIT)
    assert path.read_bytes() == CONTENT
    assert digest_path(path).read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  weights.h5\n"
    assert secure.asked == [f"/to?{secure.address}/file", "/file"]
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("address", "md5", "limit", "message"),
    [
        ("{secure}/to?{plain}/file", MD5, LIMIT, "expected an https:// address, found http://localhost"),
        ("{secure}/to?ftp://localhost/file", MD5, LIMIT, "expected an https:// address, found ftp://localhost"),
        ("{secure}/to?file:///etc/hostname", MD5, LIMIT, "file:///etc/hostname' is not allowed"),
        ("{plain}/file", MD5, LIMIT, "expected an https:// address, found http://localhost"),
        ("file:///etc/hostname", MD5, LIMIT, "expected an https:// address, found file:///etc"),
        ("{secure}/file", "0" * 32, LIMIT, f"expected MD5 {'0' * 32}, found {MD5}"),
        ("{secure}/short", MD5, LIMIT, f"expected MD5 {MD5}, found "),
        ("{secure}/file", MD5, 2 * 10**6, "expected at most 2 MB, found more"),
        ("{secure}/absent", MD5, LIMIT, "404"),
    ],
)
def test_a_wrong_download_leaves_no_file(secure, serve, tmp_path, address, md5, limit, message):
    """Someone between the user and the server could replace the weights, or fill the disk."""
    plain = serve()
    with pytest.raises((OSError, ValueError), match=message):
        download(address.format(secure=secure.address, plain=plain.address), tmp_path / "a.h5", md5=md5, limit=limit)
    assert plain.asked == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_certificate_is_refused(serve, certificate, tmp_path, monkeypatch):
    """Anyone could pretend to be the server."""
    monkeypatch.setenv("no_proxy", "localhost")
    server = serve(certificate)
    with pytest.raises(OSError, match="certificate verify failed"):
        download(f"{server.address}/file", tmp_path / "a.h5", md5=MD5, limit=LIMIT)
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []
