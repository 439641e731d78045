"""Bytecode with unchecked hashes: nothing is looked at again at run time, and the times of files don't
matter. The other helpers follow this text in one program."""

import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER, cache_from_source, source_hash

# Before 3.11 the references in marshalled code depended on what else the process had done;
# version 2 has none.
MARSHAL = 2 if sys.version_info < (3, 11) else marshal.version
UNCHECKED_HASH = (1).to_bytes(4, "little")  # the flags of PEP 552


def write_bytecode(path, source):
    code = compile(source, path, "exec", dont_inherit=True)
    keep(path, packed(code, source))
    return code


def packed(code, source):
    return MAGIC_NUMBER + UNCHECKED_HASH + source_hash(source) + marshal.dumps(code, MARSHAL)


def keep(path, bytecode):
    target = cache_from_source(path)
    try:
        os.mkdir(os.path.dirname(target))
    except FileExistsError:
        pass
    # Whole or not at all: another process may be importing from this folder.
    staged = f"{target}.{os.getpid()}"
    with open(staged, "wb") as file:
        file.write(bytecode)
    os.replace(staged, target)
