//! Is this a Python project?

use std::io;
use std::path::Path;

/// Files of which one alone makes a folder a Python project.
const PROJECT_FILES: [&str; 20] = [
    ".python-version",
    "Pipfile",
    "Pipfile.lock",
    "__init__.py",
    "app.py",
    "environment.yml",
    "main.py",
    "manage.py",
    "pdm.lock",
    "poetry.lock",
    "pylock.toml",
    "pyproject.toml",
    "requirements.in",
    "requirements.txt",
    "runtime.txt",
    "server.py",
    "setup.cfg",
    "setup.py",
    "uv.lock",
    "wsgi.py",
];

/// Names that people write when they mean `requirements.txt`, in lower case.
const MISSPELT: [&str; 9] = [
    "requirement.txt",
    "requirements",
    "requirements.text",
    "requirements.txt.txt",
    "requirments.txt",
    "requiremnts.txt",
    "requirments",
    "reqirements.txt",
    "requirements.tx",
];

/// What the root of the app says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Project {
    /// Whether there is anything of Python at all.
    pub(crate) is_python: bool,
    /// A file that is probably meant to be `requirements.txt`.
    pub(crate) misspelt: Option<String>,
}

/// Looks at the names in the app's root. A file that is nearly called `requirements.txt` makes it a
/// Python project too, so that the build can say what is wrong with the name.
pub(crate) fn look(app_dir: &Path) -> io::Result<Project> {
    let mut project = Project::default();
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(app_dir)? {
        let entry = entry?;
        // A link may point to a file; what it points to decides.
        if let Ok(name) = entry.file_name().into_string()
            && std::fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file())
        {
            names.push(name);
        }
    }
    names.sort();
    for name in names {
        let is_script = Path::new(&name).extension().is_some_and(|ext| ext == "py");
        if is_script || PROJECT_FILES.contains(&name.as_str()) {
            project.is_python = true;
        } else if MISSPELT.contains(&name.to_ascii_lowercase().as_str())
            || name.eq_ignore_ascii_case("requirements.txt")
        {
            project.is_python = true;
            project.misspelt.get_or_insert(name);
        }
    }
    Ok(project)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn looked(names: &[&str]) -> Project {
        let app = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(app.path().join(name), "").unwrap();
        }
        look(app.path()).unwrap()
    }

    #[test]
    fn one_known_file_or_any_script_is_enough() {
        for name in [
            "requirements.txt",
            "pyproject.toml",
            "manage.py",
            "worker.py",
            "uv.lock",
        ] {
            assert!(looked(&["README.md", name]).is_python, "{name}");
        }
    }

    #[test]
    fn other_projects_are_left_alone() {
        assert_eq!(
            looked(&["package.json", "Procfile", "notes.txt"]),
            Project::default()
        );
    }

    #[test]
    fn a_folder_is_not_a_file() {
        let app = tempfile::tempdir().unwrap();
        std::fs::create_dir(app.path().join("requirements")).unwrap();
        assert_eq!(look(app.path()).unwrap(), Project::default());
    }

    #[test]
    fn misspelt_names_are_seen() {
        for name in ["requirement.txt", "Requirements.txt", "requirements"] {
            assert_eq!(looked(&[name]).misspelt.as_deref(), Some(name));
        }
    }
}
