//! `project.toml`, as far as slugc reads it (CNB project descriptor, schema 0.2, and what of 0.1
//! still stands in many repositories).

use crate::failure::{Exit, Failure, OrFail};
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::Path;

/// What a project says about its build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Project {
    /// `[_] id`: the app's name.
    pub(crate) id: Option<String>,
    /// `[io.buildpacks] include`, .gitignore-style: with it, only what matches is the source.
    pub(crate) include: Vec<String>,
    /// `[io.buildpacks] exclude`, .gitignore-style.
    pub(crate) exclude: Vec<String>,
    /// `[[io.buildpacks.build.env]]`: variables for the build.
    pub(crate) env: Vec<(String, String)>,
}

#[derive(Debug, Default, Deserialize)]
struct File {
    #[serde(rename = "_", default)]
    new: Head,
    #[serde(default)]
    project: Head,
    #[serde(default)]
    io: Io,
    #[serde(default)]
    build: Build,
}

#[derive(Debug, Default, Deserialize)]
struct Head {
    id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Io {
    #[serde(default)]
    buildpacks: Buildpacks,
}

#[derive(Debug, Default, Deserialize)]
struct Buildpacks {
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    build: Build,
}

#[derive(Debug, Default, Deserialize)]
struct Build {
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    value: String,
}

/// Reads the folder's `project.toml`; a folder without one has an empty project.
pub(crate) fn read(app: &Path) -> Result<Project, Failure> {
    let path = app.join("project.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        // Whether the path is a folder at all is told when the source is listed.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Project::default());
        }
        Err(error) => {
            return Err(
                Failure::new(Exit::Input, format!("cannot read {}", path.display()))
                    .because(error)
                    .hint("make the file readable UTF-8 text, or remove it: it is optional"),
            );
        }
    };
    parse(&text)
        .or_fail(Exit::Input, || {
            format!("cannot understand {}", path.display())
        })
        .map_err(|failure| {
            failure.hint(
                "correct the file by the CNB project descriptor, or remove it: it is optional",
            )
        })
}

fn parse(text: &str) -> Result<Project, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    let buildpacks = file.io.buildpacks;
    let old = file.build;
    let either = |new: Vec<String>, old: Vec<String>| if new.is_empty() { old } else { new };
    let variables = if buildpacks.build.env.is_empty() {
        old.env
    } else {
        buildpacks.build.env
    };
    Ok(Project {
        id: file.new.id.or(file.project.id).filter(|id| !id.is_empty()),
        include: either(buildpacks.include, old.include),
        exclude: either(buildpacks.exclude, old.exclude),
        env: variables
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect(),
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn schema_0_2() {
        let project = parse(
            "[_]\nschema-version = \"0.2\"\nid = \"shop\"\n[io.buildpacks]\nexclude = [\"*.md\"]\n\
             [[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\n",
        )
        .unwrap();
        assert_eq!(
            project,
            Project {
                id: Some("shop".to_owned()),
                include: vec![],
                exclude: vec!["*.md".to_owned()],
                env: vec![("A".to_owned(), "1".to_owned())],
            }
        );
    }

    #[test]
    fn schema_0_1() {
        let project = parse(
            "[project]\nid = \"io.acme.shop\"\n[build]\ninclude = [\"src/\"]\n\
             [[build.env]]\nname = \"B\"\nvalue = \"2\"\n",
        )
        .unwrap();
        assert_eq!(project.id.as_deref(), Some("io.acme.shop"));
        assert_eq!(project.include, ["src/"]);
        assert_eq!(project.env, [("B".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn an_error_names_the_line() {
        let error = parse("[_]\nid = 3\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
