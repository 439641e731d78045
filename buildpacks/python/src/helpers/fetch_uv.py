"""Fetches uv's wheel from the user's package index and puts its program in place.

Arguments: version, target folder, then the sha256 digests of all wheels that are right.

Where the index is, is pip's knowledge, and the user's settings for pip are honoured. pip itself takes
over a second to load from its archive; so when nothing but an index is set, the wheel is fetched
directly, and pip does it in all other cases and whenever that fails."""

import glob
import os
import subprocess
import sys
import tempfile

# Settings that don't change where or how the wheel is fetched.
HARMLESS = {
    "PIP_CACHE_DIR", "PIP_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_FIND_LINKS",
    "PIP_INDEX_URL", "PIP_NO_CACHE_DIR", "PIP_NO_INPUT", "PIP_PRE", "PIP_PROGRESS_BAR", "PIP_ROOT_USER_ACTION",
}  # fmt: skip


def pip_archive():
    """pip as CPython brings it along, or as Debian does in its place; None when there is neither."""
    folders = [os.path.join(os.path.dirname(os.__file__), "ensurepip", "_bundled"), "/usr/share/python-wheels"]
    for folder in folders:
        wheels = sorted(glob.glob(os.path.join(folder, "pip-*.whl")))
        if wheels:
            return wheels[-1]
    return None


def has_settings():
    if any(name.startswith("PIP_") and name not in HARMLESS for name in os.environ):
        return True
    home = os.path.expanduser("~")
    configuration = os.environ.get("XDG_CONFIG_HOME", os.path.join(home, ".config"))
    files = ["/etc/pip.conf", f"{home}/.pip/pip.conf", f"{configuration}/pip/pip.conf", "/etc/xdg/pip/pip.conf"]
    return any(map(os.path.exists, files)) or "@" in os.environ.get("PIP_INDEX_URL", "")


def directly(version, digests, archive):
    """The wheel's bytes."""
    import gzip
    import hashlib
    import html
    import platform
    import re
    import ssl
    import urllib.parse
    import urllib.request

    if archive:
        sys.path.insert(0, archive)
    from pip._internal.models.index import PyPI

    index = os.environ.get("PIP_INDEX_URL") or PyPI.simple_url
    context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE"))

    def get(url, **headers):
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=20, context=context) as response:
            body = response.read()
            if response.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            return response.geturl(), body

    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
    page, body = get(index.rstrip("/") + "/uv/", **{"Accept": accept, "Accept-Encoding": "gzip"})
    # The page is HTML or JSON (PEP 503, PEP 691), and megabytes long: only one link of it is wanted.
    name = r"uv-%s-py3-none-manylinux[0-9a-z_.]*_%s\.whl" % (re.escape(version), platform.machine())
    link = re.search(r'(?:href=|"url":\s*)"([^"]*\b%s)[#"]' % name, body.decode())
    url = urllib.parse.urljoin(page, html.unescape(link.group(1)))
    wheel = get(url)[1]
    if hashlib.sha256(wheel).hexdigest() not in digests:
        raise ValueError("another wheel than the expected one")
    return wheel


def by_pip(version, digests, archive, folder):
    """The path of the wheel."""
    requirements = os.path.join(folder, "requirements.txt")
    with open(requirements, "w") as file:
        file.write(f"uv=={version} " + " ".join("--hash=sha256:" + digest for digest in digests))
    pip = [os.path.join(archive, "pip")] if archive else ["-m", "pip"]
    options = ["--no-deps", "--no-cache-dir", "--only-binary=:all:", "--require-hashes", "--quiet", "--dest", folder]
    command = [sys.executable, *pip, "download", *options, "--requirement", requirements]
    status = subprocess.call(command)
    if status != 0:
        sys.exit(status)
    return glob.glob(os.path.join(folder, "uv-*.whl"))[0]


def main():
    import io
    import shutil
    import zipfile

    version, target, *digests = sys.argv[1:]
    archive = pip_archive()
    with tempfile.TemporaryDirectory() as folder:
        wheel = None
        if not has_settings():
            try:
                wheel = io.BytesIO(directly(version, digests, archive))
            except Exception:
                # pip tries again, and has the better words for what is wrong.
                wheel = None
        if wheel is None:
            wheel = by_pip(version, digests, archive, folder)
        with zipfile.ZipFile(wheel) as content:
            os.makedirs(target, exist_ok=True)
            staged = os.path.join(target, ".uv")
            with content.open(f"uv-{version}.data/scripts/uv") as source, open(staged, "wb") as program:
                shutil.copyfileobj(source, program, 1 << 20)
            os.chmod(staged, 0o755)
            os.replace(staged, os.path.join(target, "uv"))


main()
