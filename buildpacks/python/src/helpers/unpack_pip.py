"""Unpacks the pip that comes with this Python (the distribution's archive for virtual environments, or
CPython's own) into a folder, and prints its version. Argument: the folder."""

import glob
import os
import sys
import zipfile

for folder in (os.path.join(os.path.dirname(os.__file__), "ensurepip", "_bundled"), "/usr/share/python-wheels"):
    archives = sorted(glob.glob(os.path.join(folder, "pip-*.whl")))
    if archives:
        with zipfile.ZipFile(archives[-1]) as archive:
            archive.extractall(sys.argv[1])
        print(os.path.basename(archives[-1]).split("-")[1])
        break
else:
    sys.exit("Neither this Python nor the distribution has an archive of pip.")
