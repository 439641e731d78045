"""Writes fifty wheels that unpack to 50,000 files and 1 GB: big_wheels.py FOLDER
or four that unpack to twenty files and 2 GB: big_wheels.py FOLDER few

A tenth of the many files is Python, the rest data that compresses as text does; the few are libraries in all but name.
"""

import base64
import random
import sys
import zipfile
from pathlib import Path

WHEELS, FILES, SIZE = 50, 1000, 21_000
FEW, LIBRARIES, LIBRARY = 4, 5, 100_000_000


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


def few(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(13)
    # Half of it compresses, as in machine code.
    block = source.randbytes(1 << 19) + bytes(1 << 19)
    for number in range(FEW):
        name = f"heavy_{number}"
        info = f"{name}-1.0.dist-info"
        paths = [f"{name}/libpart_{part}.so" for part in range(LIBRARIES)]
        texts = {
            f"{name}/__init__.py": "",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        texts[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*paths, *texts, f"{info}/RECORD"])
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
            for path in paths:
                with wheel.open(path, "w") as file:
                    for _ in range(LIBRARY // len(block) + 1):
                        file.write(block)
            for path, text in texts.items():
                wheel.writestr(path, text)


(few if sys.argv[2:] == ["few"] else main)(Path(sys.argv[1]))
