//! `project.toml`, as far as slugc reads it (CNB project descriptor, schema 0.2, and what of 0.1
//! still stands in many repositories).

use crate::failure::{Exit, Failure, OrFail};
use cnb_spec::metadata::Slice;
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
    /// `[[slugc.slices]]`: `paths` of the app that get a layer of their own, as glob patterns.
    pub(crate) slices: Vec<Slice>,
    /// The rest of `[_]`.
    pub(crate) about: About,
}

/// What a project says about itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) authors: Vec<String>,
    /// SPDX identifiers.
    pub(crate) licenses: Vec<String>,
    pub(crate) documentation_url: Option<String>,
    pub(crate) source_url: Option<String>,
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
    #[serde(default)]
    slugc: Slugc,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Head {
    id: Option<String>,
    name: Option<String>,
    version: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
    #[serde(default)]
    licenses: Vec<License>,
    documentation_url: Option<String>,
    source_url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct License {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Slugc {
    #[serde(default)]
    slices: Vec<Slice>,
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
    let (new, head) = (file.new, file.project);
    Ok(Project {
        id: new.id.or(head.id).filter(|id| !id.is_empty()),
        include: either(buildpacks.include, old.include),
        exclude: either(buildpacks.exclude, old.exclude),
        env: variables
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect(),
        slices: file.slugc.slices,
        about: About {
            name: new.name.or(head.name),
            version: new.version.or(head.version),
            authors: either(new.authors, head.authors),
            licenses: new
                .licenses
                .into_iter()
                .chain(head.licenses)
                .filter_map(|license| license.kind)
                .collect(),
            documentation_url: new.documentation_url.or(head.documentation_url),
            source_url: new.source_url.or(head.source_url),
        },
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
                ..Project::default()
            }
        );
    }

    #[test]
    fn what_a_project_says_about_itself() {
        let text = "[_]\nname = \"The shop\"\nversion = \"1.4\"\nauthors = [\"Ann\"]\nlicenses = [{type = \"MIT\"}, {uri = \"x\"}]\n\
             source-url = \"https://h.example/x\"\n[[slugc.slices]]\npaths = [\"static\"]\n";
        let project = parse(text).unwrap();
        assert_eq!(project.about.name.as_deref(), Some("The shop"));
        assert_eq!(project.about.licenses, ["MIT"]);
        assert_eq!(
            project.about.source_url.as_deref(),
            Some("https://h.example/x")
        );
        assert_eq!(project.slices[0].paths, ["static"]);
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
