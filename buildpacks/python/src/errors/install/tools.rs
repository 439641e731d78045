//! Words about what uv, Poetry and Pipenv find wrong with a project before they install anything.

use super::super::known::{Known, named, plain};

/// Mistakes in descriptions, and what a project demands of its tools.
pub(super) const TABLE: &[Known] = &[
    named(
        &[&["Required uv version `"]],
        &[("Required uv version `", "`")],
        "The project asks for uv {}",
        "required-version in pyproject.toml or uv.toml allows only uv {}. Let the build use one of these, for example\n    \
         -e BP_UV_VERSION=0.8.0\nor change required-version.",
    ),
    named(
        &[&["This project requires Poetry "]],
        &[("This project requires Poetry ", ", but")],
        "The project asks for Poetry {}",
        "requires-poetry in pyproject.toml allows only Poetry {}. Let the build use one of these, for example\n    \
         -e BP_POETRY_VERSION=2.1.0\nor change requires-poetry.",
    ),
    plain(
        &[&["The following Poetry plugins are required by the project"]],
        "The project asks for a plugin of Poetry",
        "requires-plugins in pyproject.toml lists plugins that could not be had; they are named above. To install a lock takes no \
         plugin:\nremove the line if only developers need it, or correct name and version.",
    ),
    plain(
        &[&["The Poetry configuration is invalid"]],
        "pyproject.toml says something that Poetry does not understand",
        "The message above names the key. Correct it; poetry check finds the same on your machine.",
    ),
    named(
        &[&["references a workspace in `tool.uv.sources`"]],
        &[("cause: `", "` references a workspace")],
        "{} is no member of the workspace",
        "[tool.uv.sources] says that {} comes from the workspace, and no member has that name. Check that its folder matches \
         members in\n[tool.uv.workspace], that its pyproject.toml has this name, and that it is committed and not excluded \
         (.slugignore,\nproject.toml).",
    ),
    named(
        &[&["Workspace member `", "is missing a `pyproject.toml`"]],
        &[("Workspace member `", "`")],
        "A member of the workspace has no pyproject.toml",
        "{}\nmatches members in [tool.uv.workspace] and has no pyproject.toml. Commit it, or leave the folder out with exclude.",
    ),
    plain(
        &[
            &["has malformed dependency groups"],
            &["Detected a cycle in `dependency-groups`"],
        ],
        "[dependency-groups] of pyproject.toml can't be used",
        "A group includes itself in the end, or one that is not there; the names are above. Correct include-group.",
    ),
    plain(
        &[&["are incompatible with the conflicts:"]],
        "The groups or extras asked for exclude each other",
        "pyproject.toml says (tool.uv.conflicts) that they can't be installed together; the message above names them. Ask for one of \
         them\nin BP_PYTHON_GROUPS or BP_PYTHON_EXTRAS.",
    ),
    named(
        &[&["doesn't have a source distribution or wheel for the current platform"]],
        &[("Distribution `", " @")],
        "{} has no file for this system",
        "The lock holds {} only for other systems or Pythons; the message above says for which. Say in pyproject.toml where it is \
         needed,\nsuch as \"NAME ; sys_platform == 'darwin'\", or choose a version that has a file for Linux, and lock again.",
    ),
    named(
        &[&["Unable to find installation candidates for "]],
        &[("Unable to find installation candidates for ", "\n")],
        "{} has no file for this system",
        "The lock holds {} only for other systems or Pythons, or the index does not have it any more. Say in pyproject.toml where it \
         is\nneeded (markers), or choose a version that has a file for Linux and this Python, and lock again.",
    ),
    plain(
        &[&["Not a valid package or extra name"]],
        "A name in pyproject.toml is not valid",
        "Names of projects, packages and extras have letters, digits, \"-\", \"_\" and \".\", and begin and end with a letter or a \
         digit.\nThe line is shown above.",
    ),
    plain(
        &[&[
            "Failed to parse: pyproject.toml",
            "expected version to start with a number",
        ]],
        "project.version in pyproject.toml is not a version",
        "Versions begin with a number, such as \"0.1.0\". The line is shown above.",
    ),
    named(
        &[&["The requirement is invalid: "]],
        &[("The requirement is invalid: ", "\n")],
        "A requirement in pyproject.toml is not understood",
        "Poetry says: {}. A requirement names one package with the versions that will do: \"flask>=3.0,<4\".",
    ),
    named(
        &[&["Path ", " does not exist"]],
        &[("Path ", " does not exist")],
        "A folder that pyproject.toml names is missing",
        "{}\nPaths are relative to the project's root. Check the name, and that the folder is committed and not excluded \
         (.slugignore,\nproject.toml).",
    ),
    plain(
        &[&["LockfileNotFound"], &["Pipfile.lock not found"]],
        "Pipfile.lock is missing",
        "Make it and commit it:\n    pipenv lock",
    ),
    named(
        &[&["TOML parse error at "], &["Invalid TOML file "]],
        &[("TOML parse error at ", "\n"), ("Invalid TOML file ", "\n")],
        "A file of the project is not valid TOML",
        "{}; the message above shows the place. Correct it and build again.",
    ),
    named(
        &[&["which doesn't match any versions, version solving failed"]],
        &[(" depends on ", " which doesn't match any versions")],
        "There is no {}",
        "The index knows no such package, or not in that version. Check name and version in pyproject.toml, and lock again.",
    ),
    plain(
        &[&["version solving failed"]],
        "The requirements contradict each other",
        "Two requirements ask for versions of one package that exclude each other; the message above names them. Loosen one of them \
         in\npyproject.toml, and lock again.",
    ),
];

/// What may end in words about the network, and is about the project.
pub(super) const FIRST: &[Known] = &[plain(
    &[&["Failed to resolve requirements from `setup.py` build"]],
    "The project's requirements can't be read",
    "uv could not understand the requirements in pyproject.toml and tried to build the project to find out, which failed. \
         Correct\nthem: each is like \"flask>=3.0,<4\". uv lock shows which one is meant.",
)];
