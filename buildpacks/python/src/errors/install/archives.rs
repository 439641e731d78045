//! Words about wheels and source archives that are not what they should be.

use super::super::known::{Known, named, plain};

/// Before all words about failed builds: these are about what is unpacked, not about what is compiled.
pub(super) const TABLE: &[Known] = &[
    named(
        &[&["trying to install outside the target directory"]],
        &[("For req: ", ". The wheel")],
        "The package {} tries to write outside of its place",
        "A file of this wheel has a path that leads out of the virtual environment, which no honest package has. It was not \
         installed.\nMake sure of the package's name (a similar one may be an attack), and of the index that it comes from.",
    ),
    plain(
        &[
            &["Script path must resolve to a file within the scripts directory"],
            &["the script would be installed outside the scripts directory"],
        ],
        "A package tries to write a program outside of its place",
        "The name of one of its programs (entry points) leads out of the virtual environment, which no honest package does. It was \
         not\ninstalled. Make sure of the package's name, and of the index that it comes from.",
    ),
    named(
        &[&["Scripts must not use the reserved name `"]],
        &[("reserved name `", "`")],
        "A package brings a program called {}",
        "It would take the place of the environment's own Python, which no honest package does. It was not installed. Make sure of \
         the\npackage's name (it is above), and of the index that it comes from.",
    ),
    named(
        &[
            &["unsafe member path \""],
            &["unsafe symbolic-link target \""],
        ],
        &[
            ("unsafe member path \"", "\""),
            ("unsafe symbolic-link target \"", "\""),
        ],
        "A source archive leads outside of its place ({})",
        "The archive named above has a file or a link to a place outside of the folder that it is unpacked into, which no honest \
         archive\nhas. Nothing of it was used. Make sure of the package's name, and of the index that it comes from.",
    ),
    plain(
        &[
            &["invalid console script"],
            &["Invalid script entry point"],
            &["Invalid `entry_points.txt`"],
        ],
        "A package describes its programs in a way that can't be read",
        "The file entry_points.txt in the wheel named above is malformed. Use another version of the package; if it is your own, \
         correct\n[project.scripts] in its pyproject.toml (name = \"module:function\").",
    ),
    named(
        &[
            &["does not match given name `"],
            &["has inconsistent name: expected '"],
        ],
        &[
            ("does not match given name `", "`"),
            ("has inconsistent name: expected '", "'"),
        ],
        "{} calls itself by another name",
        "The requirement asks for {}, and what its address or file leads to describes itself as another package; both names are \
         above.\nWrite the name that the package has, in front of the \"@\" (or behind #egg=).",
    ),
    named(
        &[
            &["in the distribution filename"],
            &["AssertionError: '", " for wheel"],
        ],
        &[
            ("Requested package name `", "`"),
            ("AssertionError: '", "'"),
        ],
        "The address of {} leads to another package",
        "The file's name in the address begins with another package's. Correct the address, or the name in front of the \"@\".",
    ),
    plain(
        &[
            &["Wheel version does not match filename"],
            &["has inconsistent version: expected '"],
        ],
        "A package's file is named for another version than it holds",
        "The version in the file's name and the one inside differ (both are above), so one of them is wrong. If the file is yours, \
         build\nit again; if not, use another version, and tell the package's authors.",
    ),
    plain(
        &[
            &["failed to open file", "dist-info/RECORD"],
            &["OSError: RECORD"],
            &["RECORD file is invalid"],
            &["RECORD file doesn't match wheel contents"],
        ],
        "A wheel does not list its files",
        "The list of files (RECORD) of the wheel named above is missing or wrong, so it was not made by a build tool, or was changed \
         since.\nBuild it again, or use another version.",
    ),
    plain(
        &[&["ultiple .dist-info directories found"]],
        "A wheel holds several packages",
        "The wheel named above has more than one .dist-info folder and can't be told apart. Build it again in a clean folder (remove \
         build/\nand *.egg-info first), or use another version.",
    ),
    plain(
        &[
            &["Unsupported wheel major version"],
            &["Wheel-Version (", "is not compatible"],
        ],
        "A wheel has a newer format than the installer knows",
        "Use another version of the package named above, or let a newer installer do it: -e BP_UV_VERSION=...",
    ),
    plain(
        &[
            &["Failed to read from zip file"],
            &[" located at ", " is invalid."],
            &["unable to locate the end of central directory record"],
            &["BadZipFile"],
            &["Invalid zip file structure"],
            &["Failed to extract archive"],
            &["Compressed file ended before the end-of-stream marker"],
            &["tarfile.ReadError"],
            &["Failed to unpack file"],
        ],
        "A package's file is damaged",
        "The wheel or archive named above is cut off, or is no archive at all; an index or a proxy that answers with a page instead \
         of the\nfile is a common cause, and so is Git LFS (a pointer instead of the file). Fetch it by hand and look at it. If it \
         is part of the\napp, commit it again; if not, build again.",
    ),
    named(
        &[&["has invalid metadata"], &["could not be parsed"]],
        &[("Metadata for `", "`"), ("Requested ", " from ")],
        "The description of {} can't be read",
        "Its file says who it is and what it needs in a form that is against the rules (the exact place is above). Old versions of \
         many\npackages do. Ask for a newer version.",
    ),
    plain(
        &[&["_compat.BadMetadata"], &["InvalidMetadataError"]],
        "The description of a package can't be read",
        "Its file says who it is and what it needs in a form that is against the rules (the exact place is above). Old versions of \
         many\npackages do. Ask for a newer version.",
    ),
    plain(
        &[
            &["does not appear to be a Python project"],
            &["is not installable. Neither 'setup.py' nor 'pyproject.toml' found"],
        ],
        "What should be a Python project is none",
        "The folder or archive named above has neither pyproject.toml nor setup.py in its top folder. Correct the path; the project \
         may be\none folder further down. If the files should be there, see that they are committed and not excluded (.slugignore,\n\
         project.toml).",
    ),
    named(
        &[&["The wheel filename `"]],
        &[("The wheel filename `", "`")],
        "{} is not the name of a wheel",
        "The name of a wheel tells what is in it: NAME-VERSION-PYTHON-ABI-PLATFORM.whl. Give the file the name that it was built \
         with. A\npath of Windows (C:\\...) leads nowhere in a build: put the file into the app's folder and write ./FILE.whl",
    ),
    named(
        &[&["Invalid wheel filename"]],
        &[("): '", "'"), ("filename: ", "\n")],
        "{} is not the name of a wheel",
        "The name of a wheel tells what is in it: NAME-VERSION-PYTHON-ABI-PLATFORM.whl. Give the file the name that it was built with.",
    ),
    named(
        &[&["Invalid project name: '"]],
        &[("Invalid project name: '", "'")],
        "{} is not the name of a package",
        "A path of Windows (C:\\...) or a file that is not there leads nowhere in a build: put the file into the app's folder and \
         write\n./FILE.whl, or name the package and its version.",
    ),
    named(
        &[&["is not a supported wheel on this platform"]],
        &[("ERROR: ", " is not a supported wheel on this platform")],
        "{} is for another Python or processor",
        "The end of a wheel's name says which Python and which system it is for. Ask for the package by name and version instead of \
         the\nfile, or choose the Python that it is for in .python-version.",
    ),
    named(
        &[&["is not a valid editable requirement"]],
        &[("ERROR: ", " is not a valid editable requirement")],
        "{} can't be installed with -e",
        "-e takes a folder of the app or the address of a repository (git+https://...), not a package's name. Remove the -e, or \
         correct\nthe path.",
    ),
    plain(
        &[&["No connection adapters were found for"]],
        "An address in the requirements begins in a way that is not known",
        "Addresses of packages begin with https://, http:// or file://, those of repositories with git+https://. Correct the one \
         shown\nabove.",
    ),
    named(
        &[&["Requirements contain conflicting URLs for package `"]],
        &[("conflicting URLs for package `", "`")],
        "{} is asked for at two addresses",
        "Two requirements give different addresses for {}; both are above. Keep one. If one of them comes from a package that the \
         app\nneeds, let the app's requirement name the same address.",
    ),
    named(
        &[&["was included as a URL dependency"]],
        &[("Package `", "`")],
        "{} comes from an address that the app does not name",
        "A package that the app needs asks for {} by an address. Such requirements have to stand in the app's own requirements as \
         well:\nadd a line {} @ ADDRESS.",
    ),
];

/// Checks of hashes that can't be made.
pub(super) const HASHES: &[Known] = &[
    plain(
        &[
            &["In --require-hashes mode, all requirements must have their versions pinned"],
            &["In `--require-hashes` mode, all requirements must have their versions pinned"],
            &["Hashes are required in --require-hashes mode"],
            &["In `--require-hashes` mode, all requirements must have a hash"],
        ],
        "Some requirements have hashes, and others have none",
        "As soon as one line of requirements.txt has a --hash, every package needs an exact version and a hash, those that others \
         ask\nfor included. Let a tool write the file:\n    \
         uv pip compile --generate-hashes requirements.in --output-file requirements.txt",
    ),
    plain(
        &[
            &["Invalid hash digest length"],
            &["Unsupported hash algorithm"],
        ],
        "A hash in the requirements is not whole",
        "A sha256 has 64 digits from 0 to f; the one named above was cut off or mistyped. Let a tool write the hashes:\n    \
         uv pip compile --generate-hashes requirements.in --output-file requirements.txt",
    ),
    plain(
        &[
            &["Can't verify hashes for these"],
            &["Hash-checking is not supported for"],
        ],
        "A folder or a repository can't be checked by a hash",
        "Hashes are for files. Put what comes from a folder or a git repository into a second file without hashes, or name an archive \
         of\nit with its hash.",
    ),
];
