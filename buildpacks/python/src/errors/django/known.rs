//! What Django and what projects commonly use say when settings or apps are wrong.

use super::super::known::{Known, named, plain};

/// The order matters: a traceback may hold several.
pub(super) const TABLE: &[Known] = &[
    named(
        &[&["No module named '", ".six.moves"]],
        &[("No module named '", ".six.moves")],
        "{} is too old for this Python",
        "It brings an old copy of the package six, which does not work since Python 3.12. Use a newer version (Django: 4.2 or newer), \
         or an\nolder Python in .python-version.",
    ),
    plain(
        &[&["without having set the STATIC_ROOT setting"]],
        "STATIC_ROOT is not set",
        "collectstatic copies all static files into one folder, and the settings do not say which. Add to the settings:\n    \
         STATIC_ROOT = BASE_DIR / \"staticfiles\"\n\
         and serve it, for example with whitenoise.",
    ),
    plain(
        &[&["setting should not contain the STATIC_ROOT setting"]],
        "STATICFILES_DIRS contains STATIC_ROOT",
        "Files are collected from STATICFILES_DIRS into STATIC_ROOT, so they have to be different folders. Keep your own files in \
         static/\n(STATICFILES_DIRS) and let STATIC_ROOT be staticfiles/.",
    ),
    plain(
        &[&["must define a 'staticfiles' storage"]],
        "STORAGES has no entry for static files",
        "Since Django 5.1 the setting STORAGES replaces STATICFILES_STORAGE, and it has to name a storage for \"staticfiles\":\n    \
         STORAGES = {\n        \"default\": {\"BACKEND\": \"django.core.files.storage.FileSystemStorage\"},\n        \
         \"staticfiles\": {\"BACKEND\": \"whitenoise.storage.CompressedManifestStaticFilesStorage\"},\n    }",
    ),
    plain(
        &[&["STORAGES are mutually exclusive"]],
        "STORAGES and STATICFILES_STORAGE are both set",
        "The setting STORAGES replaces STATICFILES_STORAGE and DEFAULT_FILE_STORAGE. Move what they name into STORAGES and remove \
         them.",
    ),
    named(
        &[&["Could not find backend '"]],
        &[("Could not find backend '", "'")],
        "The storage {} is not there",
        "STORAGES in the settings names {}, which could not be imported: the class is misspelt, or its package is missing or of \
         another\nversion. Compare it with the package's documentation.",
    ),
    named(
        &[&["Error loading ", " module"]],
        &[("Error loading ", " module")],
        "The driver of the database is not installed",
        "DATABASES in the settings needs {}, which is not among the installed packages. For PostgreSQL add psycopg[binary] to the\n\
         requirements, for MySQL mysqlclient (or PyMySQL).",
    ),
    named(
        &[&["isn't an available database backend"]],
        &[("ImproperlyConfigured: '", "'")],
        "There is no database backend {}",
        "ENGINE in DATABASES is misspelt, or its package is missing. Django's own are django.db.backends.postgresql, mysql, sqlite3 \
         and\noracle.",
    ),
    plain(
        &[
            &["dj_database_url.UnknownSchemeError"],
            &["dj_database_url.ParseError"],
        ],
        "The address of the database is not understood",
        "dj_database_url read one that does not begin with postgres://, mysql://, sqlite:/// or another scheme that it knows. \
         DATABASE_URL is\nnot set during a build: give it a default, such as config(default=\"sqlite:///db.sqlite3\").",
    ),
    named(
        &[&["Application labels aren't unique"]],
        &[("duplicates: ", "\n")],
        "INSTALLED_APPS has an app twice: {}",
        "Two entries of INSTALLED_APPS have the label {}. Remove one, or give one of them another label in its AppConfig.",
    ),
    named(
        &[&["doesn't declare an explicit app_label"]],
        &[("Model class ", " doesn't declare")],
        "The model {} belongs to no app in INSTALLED_APPS",
        "Its module is imported, and the app that it lies in is not listed. Add the app to INSTALLED_APPS, under the path by which \
         its\nmodels are imported.",
    ),
    named(
        &[&["AUTH_USER_MODEL refers to model '"]],
        &[("AUTH_USER_MODEL refers to model '", "'")],
        "AUTH_USER_MODEL names {}, which is not installed",
        "Add the app that has this model to INSTALLED_APPS, or correct AUTH_USER_MODEL (\"app.Model\").",
    ),
    named(
        &[&["DEFAULT_AUTO_FIELD refers to"]],
        &[("DEFAULT_AUTO_FIELD refers to the module '", "'")],
        "DEFAULT_AUTO_FIELD names {}, which is not there",
        "Django's own is \"django.db.models.BigAutoField\".",
    ),
    plain(
        &[&["AppRegistryNotReady"]],
        "Models are used before Django has loaded them",
        "The settings, or the __init__.py of an app, import models. Import them inside the function that needs them; to name the \
         model of\nusers, use settings.AUTH_USER_MODEL.",
    ),
    named(
        &[&["most likely due to a circular import"]],
        &[("partially initialized module '", "'")],
        "The module {} imports itself in the end",
        "Two modules import each other; the traceback above shows the way. Move what both need into a third one, or import inside \
         the\nfunction that needs it.",
    ),
    named(
        &[&["Unable to configure handler '"]],
        &[("Unable to configure handler '", "'")],
        "The log handler {} can't be set up",
        "LOGGING in the settings names a handler that failed, most often because its file is in a folder that is not there. Apps \
         log to\ntheir standard output here: use logging.StreamHandler.",
    ),
    named(
        &[&["Incorrect timezone setting"]],
        &[("Incorrect timezone setting: ", "\n")],
        "There is no time zone {}",
        "TIME_ZONE in the settings is misspelt; names are like Europe/Berlin or UTC.",
    ),
    plain(
        &[
            &["botocore.exceptions.NoCredentialsError"],
            &["Unable to locate credentials"],
            &["Must supply api_key"],
            &["DefaultCredentialsError"],
        ],
        "Static files are to be uploaded, and the build has no credentials",
        "The storage for static files is a cloud's, so collectstatic would upload them during the build. Collect into a folder and \
         serve\nit with whitenoise; or switch collecting off here (DISABLE_COLLECTSTATIC=1) and upload in the release process.",
    ),
    named(
        &[&["cannot open shared object file"]],
        &[
            ("ImportError: ", ": cannot open shared object file"),
            ("OSError: ", ": cannot open shared object file"),
        ],
        "The library {} is missing in the image",
        "A package that is imported needs {}, which this stack does not have. Use a package that brings it along (such as\n\
         opencv-python-headless), or build on a stack that has the Debian package with it.",
    ),
    named(
        &[&[
            "ImportError: cannot import name 'ugettext",
            "from 'django.utils.translation'",
        ]],
        &[("cannot import name '", "'")],
        "{} was removed in Django 4",
        "The project or a package was written for an older Django. Use gettext or gettext_lazy (from django.utils.translation), a \
         newer\nversion of the package, or \"django<4\".",
    ),
    plain(
        &[&["cannot import name 'url' from 'django.conf.urls'"]],
        "url() was removed in Django 4",
        "The project or a package was written for an older Django. Use re_path from django.urls, a newer version of the package, or\n\
         \"django<4\".",
    ),
    plain(
        &[
            &["cannot import name 'force_text' from"],
            &["cannot import name 'smart_text' from"],
            &["cannot import name 'urlquote' from"],
            &["cannot import name 'is_safe_url' from"],
        ],
        "A function was removed in Django 4",
        "The project or a package was written for an older Django: force_text became force_str, smart_text smart_str, is_safe_url\n\
         url_has_allowed_host_and_scheme. Use the new name, a newer version of the package, or \"django<4\".",
    ),
    named(
        &[&["AttributeError: module 'collections' has no attribute '"]],
        &[("module 'collections' has no attribute '", "'")],
        "collections.{} was removed from Python",
        "It is collections.abc.{} since Python 3.10. If a package uses it (see the traceback), a newer version of it does not.",
    ),
    named(
        &[
            &["No module named 'distutils"],
            &["No module named 'imp'"],
            &["No module named 'cgi'"],
        ],
        &[("No module named '", "'")],
        "The module {} was removed from Python",
        "Newer Pythons have no {} any more. Use a newer version of the package that imports it (see the traceback), add setuptools \
         to the\nrequirements (which has distutils), or choose an older Python in .python-version.",
    ),
    named(
        &[&["No module named 'pkg_resources'"]],
        &[("No module named '", "'")],
        "The module {} belongs to setuptools, which is not installed",
        "Add \"setuptools<81\" to the requirements; since Python 3.12 environments do not have it by themselves.",
    ),
    named(
        &[&[
            "FileNotFoundError: [Errno 2] No such file or directory: '",
            ".env'",
        ]],
        &[("No such file or directory: '", "'")],
        "The settings open {}, which is not in the build",
        "Files named .env hold secrets and stay out of images. Read variables from the environment and let the file be optional: \
         config\nvars are there when the app runs, and -e NAME=VALUE sets one for the build.",
    ),
    named(
        &[
            &["FileNotFoundError: [Errno 2] No such file or directory: 'npm'"],
            &["FileNotFoundError: [Errno 2] No such file or directory: 'node'"],
            &["FileNotFoundError: [Errno 2] No such file or directory: 'sass'"],
        ],
        &[("No such file or directory: '", "'")],
        "The program {} is not on the build image",
        "The project runs {} during collectstatic. Build these files before (and commit them), or add a buildpack that brings the \
         program.",
    ),
    named(
        &[&["FileNotFoundError: [Errno 2] No such file or directory: '"]],
        &[(
            "FileNotFoundError: [Errno 2] No such file or directory: '",
            "'",
        )],
        "The project opens {}, which is not there",
        "Check its name (upper and lower case count), that it is committed, and that it is not excluded (.slugignore, project.toml). \
         Paths\nof your own machine do not exist in a build; make them relative to the project: BASE_DIR / \"FILE\".",
    ),
    named(
        &[&["PermissionError: [Errno 13] Permission denied: '"]],
        &[("Permission denied: '", "'")],
        "The project may not write {}",
        "Builds write to the app's folder and to /tmp. Choose a place below BASE_DIR, or one that a setting names.",
    ),
    plain(
        &[&["ValueError: invalid literal for int()"]],
        "A setting should be a number and is none",
        "The line is in the traceback above. If it comes from a variable, it is empty or unset during the build: give it a default \
         that is a\nnumber, or pass one: -e NAME=1",
    ),
    plain(
        &[&["AttributeError: 'NoneType' object has no attribute '"]],
        "A setting is used that has no value",
        "The line is in the traceback above. os.environ.get(\"NAME\") gives None where the variable is not set, as during the build: \
         give it a\ndefault, os.environ.get(\"NAME\", \"\").",
    ),
    plain(
        &[&["No Django settings specified"]],
        "Django does not know its settings",
        super::NO_SETTINGS,
    ),
    named(
        &[&["AttributeError: ", " has no attribute '"]],
        &[(" has no attribute '", "'")],
        "The project uses {}, which is not there",
        "The file and the line are in the traceback above. If it belongs to a package, that package has another version than on your \
         machine:\ncompare with pip freeze, and pin the version in the requirements.",
    ),
    named(
        &[&["NameError: name '"]],
        &[("NameError: name '", "'")],
        "The project uses the name {}, which it does not define",
        "The file and the line are in the traceback above: it is misspelt, or its import is missing.",
    ),
];
