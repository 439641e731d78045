"""Writes fifty wheels that unpack to 50,000 files and 1 GB: big_wheels.py FOLDER

A tenth of the files is Python, the rest data that compresses as text does.
"""

import base64
import random
import sys
import zipfile
from pathlib import Path

WHEELS, FILES, SIZE = 50, 1000, 21_000


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(13)
    for number in range(WHEELS):
        name = f"bulk_{number:02}"
        info = f"{name}-1.0.dist-info"
        files = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{name}/__init__.py": b"",
        }
        for index in range(FILES - len(files)):
            text = base64.encodebytes(source.randbytes(SIZE * 3 // 4))
            if index % 10 == 0:
                body = b"".join(b"    %r,\n" % line for line in text.splitlines()[:200])
                files[f"{name}/part_{index:04}.py"] = b"TEXT = [\n" + body + b"]\n"
            else:
                files[f"{name}/data/{index % 7}/part_{index:04}.txt"] = text
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        files[f"{info}/RECORD"] = record.encode()
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
            for path, content in files.items():
                wheel.writestr(path, content)


main(Path(sys.argv[1]))
