

import gc


def serve():
    """Reads batches of paths from standard input, one path a line and an empty line after each batch;
    answers each batch with the number of modules that have bytecode."""
    # Compiling makes no garbage that only a collection frees; looking for it costs a tenth of the time.
    gc.disable()
    batch = []
    for line in sys.stdin:
        path = line.rstrip("\n")
        if path:
            batch.append(path)
            continue
        done = 0
        for path in batch:
            try:
                if not os.path.exists(cache_from_source(path)):
                    with open(path, "rb") as file:
                        write_bytecode(path, file.read())
                done += 1
            except (SyntaxError, ValueError, RecursionError):
                # Templates and code for other Pythons; importing them will tell.
                pass
        batch = []
        print(done, flush=True)


serve()
