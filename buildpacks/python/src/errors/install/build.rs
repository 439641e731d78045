//! Words about packages that could not be built from their sources.

use super::super::known::between;

/// What uv says when the tools of a build can't be had.
const BUILD_REQUIRES: &str = "Failed to resolve requirements from `build-system.requires`";

/// Headers and programs that builds of common packages miss, with Debian's package for them and, where
/// there is one, a package that needs no compiler.
const LIBRARIES: [(&str, &str, Option<&str>); 47] = [
    ("Python.h", "python3-dev", None),
    (
        "pg_config",
        "libpq-dev",
        Some("psycopg[binary] or psycopg2-binary"),
    ),
    (
        "libpq-fe.h",
        "libpq-dev",
        Some("psycopg[binary] or psycopg2-binary"),
    ),
    (
        "mysql_config",
        "default-libmysqlclient-dev",
        Some("PyMySQL"),
    ),
    (
        "MYSQLCLIENT_CFLAGS",
        "default-libmysqlclient-dev",
        Some("PyMySQL"),
    ),
    ("mysql.h", "default-libmysqlclient-dev", Some("PyMySQL")),
    ("ffi.h", "libffi-dev", None),
    ("openssl/", "libssl-dev", None),
    ("libxml/", "libxml2-dev and libxslt1-dev", None),
    ("xslt-config", "libxml2-dev and libxslt1-dev", None),
    ("jpeglib.h", "libjpeg-dev", None),
    ("zlib.h", "zlib1g-dev", None),
    ("lber.h", "libldap-dev and libsasl2-dev", None),
    ("cairo", "libcairo2-dev", None),
    ("gdal-config", "libgdal-dev", None),
    ("portaudio.h", "portaudio19-dev", None),
    ("sqlite3.h", "libsqlite3-dev", None),
    ("sql.h", "unixodbc-dev", None),
    ("curl-config", "libcurl4-openssl-dev", None),
    ("curl/curl.h", "libcurl4-openssl-dev", None),
    ("bzlib.h", "libbz2-dev", None),
    ("lzma.h", "liblzma-dev", None),
    ("snappy-c.h", "libsnappy-dev", Some("cramjam")),
    ("krb5-config", "libkrb5-dev", None),
    ("krb5.h", "libkrb5-dev", None),
    ("gssapi", "libkrb5-dev", None),
    ("xmlsec", "libxmlsec1-dev and pkg-config", None),
    ("freetype", "libfreetype-dev", None),
    ("librdkafka/rdkafka.h", "librdkafka-dev", None),
    ("hdf5.h", "libhdf5-dev", None),
    ("geos_c.h", "libgeos-dev", None),
    ("geos-config", "libgeos-dev", None),
    ("proj.h", "libproj-dev", None),
    ("X11/Xlib.h", "libx11-dev", None),
    ("dbus/dbus.h", "libdbus-1-dev", None),
    ("pcap.h", "libpcap-dev", None),
    ("yaml.h", "libyaml-dev", None),
    ("gmp.h", "libgmp-dev", None),
    ("mpfr.h", "libmpfr-dev", None),
    ("sndfile.h", "libsndfile1-dev", None),
    ("asoundlib.h", "libasound2-dev", None),
    ("zmq.h", "libzmq3-dev", None),
    ("sodium.h", "libsodium-dev", None),
    ("leveldb/", "libleveldb-dev", None),
    ("cmake", "cmake", None),
    ("swig", "swig", None),
    ("gfortran", "gfortran", None),
];

/// What an old or careless build script says, with what to do about it.
const KNOWN: [(&[&str], &str); 15] = [
    (
        &[
            "No module named 'pkg_resources'",
            "No module named 'setuptools.dep_util'",
        ],
        "This version was made for an older setuptools than the one that builds it. Use a newer version of the package, or \
         build it\nwith the older one: a file constraints.txt with the line \"setuptools<80\", and\n    \
         -e UV_BUILD_CONSTRAINT=constraints.txt",
    ),
    (
        &["use_2to3 is invalid"],
        "This version is for Python 2 and is translated during the build, which setuptools no longer does. Use a newer \
         version of\nthe package.",
    ),
    (
        &[
            "AttributeError: cython_sources",
            "'build_ext' object has no attribute 'cython_sources'",
        ],
        "This version does not build with Cython 3 (PyYAML before 6.0.1 is known for it). Use a newer version of the package.",
    ),
    (
        &["The 'sklearn' PyPI package is deprecated"],
        "The package to install is scikit-learn; sklearn is only the name to import. Replace it in the requirements.",
    ),
    (
        &[
            "Multiple top-level packages discovered",
            "Multiple top-level modules discovered",
        ],
        "There are several folders or modules that could be the package. If the project is an app and no package, remove\n\
         [build-system] from pyproject.toml (what it depends on is installed all the same). If it is a package, say which \
         folder\nit is:\n    [tool.setuptools]\n    packages = [\"NAME\"]",
    ),
    (
        &[
            "Unable to determine which files to ship inside the wheel",
            "Expected a Python module at",
        ],
        "There is no folder with the project's name. If the project is an app and no package, remove [build-system] from\n\
         pyproject.toml (what it depends on is installed all the same). If it is a package, tell the build system where it \
         is, for\nexample:\n    [tool.hatch.build.targets.wheel]\n    packages = [\"NAME\"]",
    ),
    (
        &[
            "Missing parentheses in call to 'print'",
            "except Exception, e",
        ],
        "This version is written in Python 2, which no Python of today runs. Use a newer version of the package, or another \
         package:\none that nobody moved to Python 3 is not looked after.",
    ),
    (
        &["EOFError: EOF when reading a line"],
        "Its build script asks a question, which nobody answers in a build. Look in its documentation for a variable or an option \
         that\nanswers it, or use a version that has a wheel for this Python.",
    ),
    (
        &[
            "setuptools-scm was unable to detect version",
            "Cannot find any version, because no git",
        ],
        "It takes its version from git's history, which is not part of a build. Give it one:\n    \
         -e SETUPTOOLS_SCM_PRETEND_VERSION=1.2.3\nor install it from the index or from a git address, where the history is there.",
    ),
    (
        &[
            "'_PyLong_AsByteArray'",
            "has no member named 'tp_print'",
            "'PyUnicode_AsUnicode'",
            "has no member named 'curexc_type'",
            "'_PyUnicode_Ready'",
            "undeclared (first use in this function); did you mean 'PyFrame",
        ],
        "This version was written for an older Python: the interface for C programs has changed since. Use a newer version of the\n\
         package, or an older Python (a file .python-version with, for example, 3.11).",
    ),
    (
        &["Cannot import build backend '", "Backend '"],
        "Its pyproject.toml names a build backend that is not there. If it is your own project, add the package of the backend to\n\
         build-system.requires; if not, use a version that has a wheel for this Python.",
    ),
    (
        &[
            "No such file or directory: 'requirements.txt'",
            "No such file or directory: 'README",
            "No such file or directory: 'VERSION",
        ],
        "Its build script reads a file that its authors forgot to put into the archive. Use another version of the package. If it \
         is your\nown project, list the file in MANIFEST.in, and see that it is not excluded (.slugignore, project.toml).",
    ),
    (
        &[
            "PermissionError: [Errno 13]",
            "error: could not create '/usr",
        ],
        "Its build script writes to a place of the system, where builds may not write. Use a version that has a wheel for this \
         Python, or\na package that does not.",
    ),
    (
        &[
            "requires rustc ",
            "rustc version",
            "lock file version `4` was found",
            "feature `edition2024` is required",
        ],
        "It is written in Rust and needs a newer compiler than the build image has. Use a version that has a wheel for this Python \
         (often\nthe newest one).",
    ),
    (
        &["signal: 9", "Killed signal terminated program cc1"],
        "Its build was killed, which most often means that the memory ran out. Use a version that has a wheel for this \
         Python, or\nbuild on a machine with more memory; fewer compilers at once need less:\n    \
         -e MAX_JOBS=1 -e CMAKE_BUILD_PARALLEL_LEVEL=1",
    ),
];

/// The package whose build failed, if one did: its name, without what follows it.
pub(super) fn failed(output: &str) -> Option<String> {
    for (start, end) in [
        ("Failed to build `", "`"),
        ("Failed to download and build `", "`"),
        ("Failed building wheel for ", "\n"),
        ("Failed building editable for ", "\n"),
        (
            "Failed to build installable wheels for some pyproject.toml based projects (",
            ")",
        ),
        ("ERROR: Failed to build '", "'"),
    ] {
        if let Some(package) = between(output, start, end) {
            return Some(package.split(" @ ").next().unwrap_or(package).to_owned());
        }
    }
    // The project in the app's root goes without a name.
    if output.contains(BUILD_REQUIRES) || output.contains("The build backend returned an error") {
        return Some("The project".to_owned());
    }
    ["metadata-generation-failed", "subprocess-exited-with-error"]
        .iter()
        .any(|mark| output.contains(mark))
        .then(|| {
            output
                .lines()
                .filter_map(|line| {
                    let line = line.trim();
                    line.strip_prefix("Collecting ")
                        .or_else(|| line.strip_prefix("Processing "))
                })
                .next_back()
                .and_then(|rest| rest.split_whitespace().next())
                .and_then(|name| name.rsplit('/').next())
                .unwrap_or("a package")
                .to_owned()
        })
}

/// Title and advice.
pub(super) fn explain(package: &str, output: &str) -> (String, String) {
    let title = format!("{package} could not be built from its source");
    if let Some((_, advice)) = KNOWN
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| output.contains(sign)))
    {
        return (title, (*advice).to_owned());
    }
    if output.contains(BUILD_REQUIRES) {
        return (
            title,
            "What its pyproject.toml lists under build-system.requires can't be installed; the message above names it. Use a \
             version\nof the package that has a wheel for this Python, or see that the index has what the build needs."
                .to_owned(),
        );
    }
    let missing_header = between(output, "fatal error: ", ": No such file");
    let library = LIBRARIES.iter().find(|(sign, ..)| match missing_header {
        Some(header) => header.contains(sign),
        None => {
            output.contains(&format!("{sign}: not found"))
                || output.contains(&format!("{sign} executable not found"))
                || output.contains(&format!("{sign} not found"))
                || output.contains(&format!("'{sign}'"))
        }
    });
    let from_source = "There is no ready-made file (wheel) of this version for this Python and processor, so it is compiled.";
    if let Some((sign, debian, alternative)) = library {
        let alternative = alternative.map_or_else(String::new, |name| {
            format!("\n  * Or use {name}, which is not compiled.")
        });
        return (
            title,
            format!(
                "{from_source}\n{sign} is missing, which Debian has in {debian}.\n\nWhat to do:\n  \
                 * Use a version of the package that has a wheel for this Python (often the newest one).{alternative}\n  \
                 * Or build on a stack whose build image has {debian}."
            ),
        );
    }
    if let Some(advice) = missing_part(output, missing_header) {
        return (title, format!("{from_source}\n{advice}"));
    }
    if [
        "unable to execute 'gcc'",
        "command 'gcc' failed: No such file",
        "No such file or directory: 'gcc'",
        "can't find Rust compiler",
        "Cargo, the Rust package manager, is not installed",
    ]
    .iter()
    .any(|sign| output.contains(sign))
    {
        return (
            title,
            format!(
                "{from_source}\nThe build image has no compiler for it. Use a version that has a wheel for this Python, or \
                 build on a stack\nwith compilers (slug-13 has C and C++)."
            ),
        );
    }
    if output.contains("No module named 'distutils")
        || output.contains("No module named 'imp'")
        || output.contains("pkgutil.ImpImporter")
    {
        return (
            title,
            "This version is older than this Python and uses modules that Python no longer has. Use a newer version of the \
             package,\nor an older Python (a file .python-version with, for example, 3.11)."
                .to_owned(),
        );
    }
    if let Some(module) = between(output, "ModuleNotFoundError: No module named '", "'") {
        let name = package.split(['=', '@', ' ']).next().unwrap_or(package);
        return (
            title,
            format!(
                "{from_source}\nIts build script imports {module} without asking for it. Use a version that has a wheel for this \
                 Python, or add to\npyproject.toml what uv is to install for the build:\n    \
                 [tool.uv.extra-build-dependencies]\n    {name} = [\"{module}\"]"
            ),
        );
    }
    (
        title,
        format!(
            "{from_source}\nIts build script failed. Use a version that has a wheel for this Python (often the newest one), or \
             see what the\nbuild asks for in its output above."
        ),
    )
}

/// Advice about a library, a pkg-config file or a header that the build looks for.
fn missing_part(output: &str, header: Option<&str>) -> Option<String> {
    // The linker's words: /usr/bin/ld: cannot find -lpq
    if let Some(library) = between(output, "cannot find -l", "\n")
        .map(|rest| rest.split([':', ' ']).next().unwrap_or(rest))
    {
        return Some(format!(
            "The library lib{library} is missing, which the linker looks for. Debian has it in a package named lib{library}-dev or \
             nearly\nso. Use a version that has a wheel for this Python, or build on a stack whose build image has it."
        ));
    }
    let configuration = between(
        output,
        "Package '",
        "', required by 'virtual:world', not found",
    )
    .or_else(|| between(output, "No package '", "' found"));
    if let Some(library) = configuration {
        return Some(format!(
            "pkg-config knows nothing of {library}: its development package is missing. Use a version that has a wheel for this \
             Python,\nor build on a stack whose build image has the Debian package with {library}.pc."
        ));
    }
    let header = header?;
    Some(format!(
        "The header {header} is missing. Use a version that has a wheel for this Python, or build on a stack whose\nbuild image has \
         the development package with that header."
    ))
}
