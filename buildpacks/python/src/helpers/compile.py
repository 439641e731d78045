

import gc
import select
import time

# How many bytes of sources are kept at most.
ROOM = 64 << 20
# Between two looks at least, in seconds.
PAUSE = 0.01
# What a module may be that no Python, or only another one, can compile; importing it will tell.
NO_CODE = (SyntaxError, ValueError, RecursionError)


def is_module(path):
    # Others could not be told of line by line, whatever the locale.
    return path.endswith(".py") and path.isascii() and path.isprintable()


class Tree:
    """A folder that something is unpacked into. It may get another name at any moment."""

    def __init__(self, path):
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        # The times of their last changes, by relative path.
        self.folders = {".": None}
        self.modules = set()

    def new_modules(self):
        found = []
        folders = list(self.folders)
        for folder in folders:
            changed = os.stat(folder, dir_fd=self.descriptor).st_mtime_ns
            if changed == self.folders[folder]:
                continue
            self.folders[folder] = changed
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.descriptor)
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    path = entry.name if folder == "." else folder + "/" + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if path not in self.folders:
                            self.folders[path] = None
                            folders.append(path)
                    elif is_module(path) and path not in self.modules:
                        self.modules.add(path)
                        found.append(path)
            os.close(descriptor)
        return found

    def read(self, path):
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self.descriptor), "rb") as file:
            return file.read()


def look_again(cache, trees):
    """The modules that came since the last look."""
    # uv unpacks each wheel, as it arrives, into such a folder, which it renames at the end.
    names = [name for name in os.listdir(cache) if name.startswith(".tmp")]
    for name in names:
        if name not in trees:
            trees[name] = Tree(cache + "/" + name)
    found = []
    for name, tree in trees.items():
        if tree is None:
            continue
        if name not in names:
            trees[name] = None
        try:
            found.extend((tree, path) for path in tree.new_modules())
        except OSError:
            # It is being removed.
            trees[name] = None
    found.reverse()
    return found


def compile_ahead(cache, packages):
    """Compiles modules while uv unpacks them, until there is something to read on standard input; returns their
    sources and their bytecode by the paths that they will have. Which bytes they will have there is looked at then."""
    ahead, trees, found, room, due = {}, {}, [], ROOM, 0
    while not select.select([sys.stdin], [], [], 0 if found else max(0, due - time.monotonic()))[0]:
        try:
            if not found:
                start = time.monotonic()
                found = look_again(cache, trees)
                # The processor has more to do than to look: mostly it belongs to uv.
                due = time.monotonic() + PAUSE + 4 * (time.monotonic() - start)
                continue
            tree, path = found.pop()
            source = tree.read(path)
            path = packages + "/" + path
            if len(source) <= room and path not in ahead:
                room -= len(source)
                code = compile(source, path, "exec", dont_inherit=True)
                ahead[path] = source, packed(code, source)
        except (OSError, *NO_CODE):
            # Gone meanwhile, or not all there yet.
            due = max(due, time.monotonic() + PAUSE)
    return ahead


def serve(ahead):
    """Reads batches of paths from standard input, one path a line and an empty line after each batch;
    answers each batch with the number of modules that have bytecode. Before that, an empty line is answered with the
    paths that were compiled ahead, and an empty line."""
    batch = []
    for line in sys.stdin:
        path = line.rstrip("\n")
        if path:
            batch.append(path)
            continue
        if not batch:
            print(*ahead, "", sep="\n", flush=True)
            continue
        done = 0
        for path in batch:
            try:
                if not os.path.exists(cache_from_source(path)):
                    with open(path, "rb") as file:
                        source = file.read()
                    before, bytecode = ahead.pop(path, (None, None))
                    if before == source:
                        keep(path, bytecode)
                    else:
                        write_bytecode(path, source)
                done += 1
            except NO_CODE:
                pass
        batch = []
        print(done, flush=True)


# Compiling makes no garbage that only a collection frees; looking for it costs a tenth of the time.
gc.disable()
serve(compile_ahead(*sys.argv[1:]) if sys.argv[1:] else {})
