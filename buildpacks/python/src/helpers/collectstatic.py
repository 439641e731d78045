

# Runs `manage.py collectstatic --noinput` in one boot of Django: whether the project has static files
# to collect is asked at the moment in which Django looks for the command, when the project is set up.
#
# Arguments: the path of manage.py, the folder of installed packages, the app's folder, and the file that
# gets the names of the app's modules that were read if the result depends on nothing that can't be looked at;
# or nothing for the last. Bytecode of installed packages that is not there yet is written on the way, as the
# compiler beside this process would; the app's is not.

import atexit
import gc
import sys
import threading
import traceback
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source


def keep_bytecode(packages):
    """Makes imports from `packages` write their bytecode in the form that the image keeps."""
    load = SourceFileLoader.get_code

    def get_code(self, fullname):
        path = self.path
        if path.startswith(packages):
            try:
                open(cache_from_source(path), "rb").close()
            except FileNotFoundError:
                try:
                    return write_bytecode(path, self.get_data(path))
                except OSError:
                    pass
        return load(self, fullname)

    SourceFileLoader.get_code = get_code


def skip(reason):
    print("Skipping collectstatic: " + reason, flush=True)
    leave()
    sys.exit(0)


def ask_first(management):
    """Skips the command in projects that have nothing to collect, and lets the first error of the
    settings through, which Django would hide behind "Unknown command"."""
    fetch_command = management.ManagementUtility.fetch_command

    def fetch(self, name):
        if name == "collectstatic":
            if getattr(self, "settings_exception", None) is not None:
                raise self.settings_exception
            from django.apps import apps
            from django.conf import settings

            if not apps.is_installed("django.contrib.staticfiles"):
                skip("'django.contrib.staticfiles' is not in INSTALLED_APPS.")
            from django.contrib.staticfiles.storage import staticfiles_storage
            from django.core.files.storage import FileSystemStorage

            # An object store has no root; a folder must be named.
            on_disk = isinstance(staticfiles_storage, FileSystemStorage)
            if on_disk and not getattr(settings, "STATIC_ROOT", None):
                skip("STATIC_ROOT is not set in the settings.")
        return fetch_command(self, name)

    management.ManagementUtility.fetch_command = fetch


def main():
    global watch, trace
    manage, packages, app, trace = sys.argv[1:]
    folder = manage.rpartition("/")[0]
    # A short-lived process: collecting garbage while modules load costs a tenth of the time.
    gc.set_threshold(100_000, 50, 50)
    sys.dont_write_bytecode = True
    sys.path[0] = folder
    sys.argv = [manage, "collectstatic", "--noinput"]
    keep_bytecode(packages)
    if trace:
        watch = Watch(app, packages)
    try:
        from django.core import management

        ask_first(management)
        if watch:
            watch.databases()
        with open(manage, "rb") as file:
            code = compile(file.read(), manage, "exec", dont_inherit=True)
        module = type(sys)("__main__")
        module.__file__ = manage
        module.__builtins__ = __builtins__
        sys.modules["__main__"] = module
        exec(code, module.__dict__)
    except Exception as error:
        # What went wrong is in the project: leave the lines of this script out.
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
            trace = trace.tb_next
        traceback.print_exception(type(error), error, trace)
        sys.exit(1)
    leave()


watch = trace = None


def leave():
    """Ends without taking every module apart, unless something still runs."""
    atexit._run_exitfuncs()
    if threading.active_count() == 1:
        if watch:
            watch.finish(trace)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


main()
