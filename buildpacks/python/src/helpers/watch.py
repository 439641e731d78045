

# Notes what the project's code reads, so that its result can stand while nothing of that changes. What can't
# be followed (other processes, the network, files elsewhere) makes the run one that has to be done each time.

import os
import sys

# Audit events of what leaves this process or goes past Python's own files.
ESCAPES = (
    "os.exec", "os.fork", "os.getxattr", "os.kill", "os.listxattr", "os.posix_spawn", "os.removexattr",
    "os.setxattr", "os.spawn", "os.startfile", "os.system", "pty.", "socket.", "sqlite3.", "subprocess.",
)  # fmt: skip
# Modules that reach out by code of their own, of which there are no events.
NATIVE = ("confluent_kafka", "grpc", "pycurl", "pymssql", "pyodbc", "sqlalchemy.engine", "zmq")
# These start processes or interpreters of which there are no events.
OTHERS = ("multiprocessing.popen", "_interpreters", "_xxsubinterpreters")
HARMLESS, ESCAPE, OPEN, IMPORT, LISTING, CHANGE, LINK = range(7)
KINDS = {
    "ctypes.dlopen": ESCAPE,
    "ctypes.dlsym": ESCAPE,
    "import": IMPORT,
    "open": OPEN,
    **dict.fromkeys(("os.chdir", "os.listdir", "os.scandir"), LISTING),
    **dict.fromkeys(
        (
            "os.chflags", "os.chmod", "os.chown", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.utime",
        ),
        CHANGE,
    ),
    **dict.fromkeys(("os.link", "os.rename", "os.symlink"), LINK),
}  # fmt: skip
# Files of the stack, whose packages count as an input.
OF_STACK = ("/dev/null", "/etc/localtime", "/etc/mime.types", "/usr/share/")


class Watch:
    def __init__(self, app, packages):
        self.app = os.path.realpath(app) + "/"
        self.installed = (packages + "/", os.path.dirname(os.__file__) + "/")
        self.kinds = dict(KINDS)
        self.paths = set()
        self.repeatable = True
        sys.addaudithook(self.hook)

    def hook(self, event, args):
        kind = self.kinds.get(event)
        if kind is None:
            kind = self.kinds[event] = ESCAPE if event.startswith(ESCAPES) else HARMLESS
        if kind is HARMLESS:
            return
        if kind is OPEN:
            path, mode, flags = args
            # Without a mode it is os.open, which may start at any folder.
            anywhere = mode is None
            self.note(path, flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC) != os.O_RDONLY, anywhere)
        elif kind is IMPORT:
            if args[0].startswith(OTHERS):
                self.repeatable = False
        elif kind is LISTING:
            self.note(args[0], False, False)
        elif kind is CHANGE:
            self.note(args[0], True, args[-1] != -1)
        elif kind is LINK:
            if event != "os.symlink":
                self.note(args[0], True, args[-1] != -1 or args[-2] != -1)
            self.note(args[1], True, args[-1] != -1)
        elif event == "ctypes.dlopen":
            self.repeatable &= args[0] is None
        elif event == "ctypes.dlsym":
            self.repeatable &= str(args[-1]).startswith("Py")
        else:
            self.repeatable = False

    def note(self, path, changes, anywhere):
        if isinstance(path, int):
            # Its file was opened before.
            return
        try:
            path = os.fsdecode("." if path is None else path)
            if not path.startswith("/"):
                if anywhere:
                    self.repeatable = False
                path = os.path.join(os.getcwd(), path)
        except (OSError, TypeError):
            self.repeatable = False
            return
        self.paths.add((path, changes))

    def databases(self):
        """Their drivers open sockets without events."""
        from django.db.backends.base.base import BaseDatabaseWrapper

        connect = BaseDatabaseWrapper.connect

        def noted(wrapper, *args, **kwargs):
            self.repeatable = False
            return connect(wrapper, *args, **kwargs)

        BaseDatabaseWrapper.connect = noted

    def modules(self):
        """The app's own Python files among what was read, relative to the app; None when the run has to be
        done each time."""
        for module in list(sys.modules.values()):
            file = getattr(module, "__dict__", {}).get("__file__")
            if isinstance(file, str):
                self.paths.add((os.path.abspath(file), False))
        if any(name in sys.modules for name in NATIVE):
            return None
        modules = set()
        for path, changes in self.paths:
            if (path + "/").startswith(self.installed) and "/../" not in path:
                # Bytecode of packages is written by this program.
                if not changes or "/__pycache__" in path:
                    continue
            path = os.path.realpath(path)
            if (path + "/").startswith(self.app):
                if path.endswith(".py") and not changes:
                    modules.add(path[len(self.app) :])
            elif changes and path != os.devnull or not path.startswith(OF_STACK + self.installed):
                return None
        return modules if self.repeatable else None

    def finish(self, trace):
        modules = self.modules()
        if modules is None:
            return
        try:
            with open(trace + ".new", "wb") as file:
                file.write(os.fsencode("\0".join(sorted(modules))))
            os.replace(trace + ".new", trace)
        except OSError:
            pass
