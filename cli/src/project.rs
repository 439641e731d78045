//! `project.toml`, as far as slugc reads it (CNB project descriptor, schema 0.2, and what of 0.1
//! still stands in many repositories).

use crate::failure::{Exit, Failure, OrFail};
use crate::platform::locator::Inline;
use cnb_spec::metadata::Slice;
use cnb_spec::toml_file::{self, FileError, Mistake};
use serde::Deserialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use toml::Spanned;

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
    /// `[io.buildpacks] builder`.
    pub(crate) builder: Option<String>,
    /// `[[io.buildpacks.group]]`: the only group of the order.
    pub(crate) group: Vec<Declared>,
    /// `[[io.buildpacks.pre.group]]`: in front of every group.
    pub(crate) pre: Vec<Declared>,
    /// `[[io.buildpacks.post.group]]`: behind every group.
    pub(crate) post: Vec<Declared>,
    /// What relative paths in it start from.
    pub(crate) folder: PathBuf,
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

/// A buildpack that the project asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Declared {
    /// Spelled as on the command line.
    Reference(String),
    Inline(Inline),
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
    build: Settings,
    #[serde(default)]
    slugc: Slugc,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Head {
    id: Option<String>,
    #[serde(rename = "schema-version")]
    schema: Option<Spanned<String>>,
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
    buildpacks: Settings,
}

/// `[io.buildpacks]`, and `[build]` in schema 0.1, which calls the group `buildpacks` and has `env` directly in it.
#[derive(Debug, Default, Deserialize)]
struct Settings {
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    builder: Option<String>,
    #[serde(default, alias = "buildpacks")]
    group: Vec<Spanned<Entry>>,
    #[serde(default)]
    pre: Addition,
    #[serde(default)]
    post: Addition,
    #[serde(default)]
    build: Build,
    #[serde(default)]
    env: Variables,
}

#[derive(Debug, Default, Deserialize)]
struct Addition {
    #[serde(default, alias = "buildpacks")]
    group: Vec<Spanned<Entry>>,
}

#[derive(Debug, Default, Deserialize)]
struct Build {
    #[serde(default)]
    env: Vec<Variable>,
}

/// A list in schema 0.1; in 0.2 pack also reads `[[io.buildpacks.env.build]]`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Variables {
    List(Vec<Variable>),
    Table {
        #[serde(default)]
        build: Vec<Variable>,
    },
}

impl Default for Variables {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Variables {
    fn into_list(self) -> Vec<Variable> {
        match self {
            Self::List(list) | Self::Table { build: list } => list,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    value: String,
    #[serde(default, rename = "exec-env")]
    exec_env: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(default)]
    id: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    uri: String,
    #[serde(default, rename = "exec-env")]
    exec_env: Vec<String>,
    script: Option<Script>,
}

#[derive(Debug, Deserialize)]
struct Script {
    #[serde(default)]
    api: String,
    #[serde(default)]
    inline: String,
    #[serde(default)]
    shell: String,
}

/// The execution environment of ordinary builds.
pub(crate) const PRODUCTION: &str = "production";

/// Reads the folder's `project.toml`; a folder without one has an empty project.
pub(crate) fn read(app: &Path) -> Result<Project, Failure> {
    read_for(app, None, PRODUCTION)
}

/// Reads the folder's `project.toml`, or the descriptor `given` in its place, which has to be there. What is not for
/// the execution environment is left out.
pub(crate) fn read_for(
    app: &Path,
    given: Option<&Path>,
    exec_env: &str,
) -> Result<Project, Failure> {
    let path = given.map_or_else(|| app.join("project.toml"), Path::to_owned);
    let text = match toml_file::read_text(&path) {
        Ok(text) => text,
        // Whether the path is a folder at all is told when the source is listed.
        Err(error) if given.is_none() && is_absent(&error) => return Ok(Project::default()),
        Err(error) => {
            let hint = if given.is_some() {
                "name a project descriptor with --descriptor FILE"
            } else {
                "make the file readable UTF-8 text, or remove it: it is optional"
            };
            let failure = Failure::new(Exit::Input, format!("cannot read {}", path.display()));
            // The file is named already.
            let failure = match error {
                FileError::Read { source, .. } => failure.because(source),
                error => failure.because(error),
            };
            return Err(failure.hint(hint));
        }
    };
    parse(&path, &text, exec_env)
        .or_fail(Exit::Input, || {
            "cannot understand the project descriptor".to_owned()
        })
        .map_err(|failure| {
            failure.hint(
                "correct the file by the CNB project descriptor, or remove it: it is optional",
            )
        })
}

fn is_absent(error: &FileError) -> bool {
    matches!(error, FileError::Read { source, .. }
        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
}

fn parse(path: &Path, text: &str, exec_env: &str) -> Result<Project, FileError> {
    let file: File = toml_file::parse(path, text)?;
    if let Some(schema) = &file.new.schema
        && !matches!(schema.get_ref().as_str(), "0.1" | "0.2")
    {
        let what = format!(
            "schema {:?} is not known; slugc reads 0.1 and 0.2",
            schema.get_ref()
        );
        return Err(mistake(
            path,
            text,
            schema.span().start,
            "_.schema-version",
            what,
        ));
    }
    let (about, head) = (file.new, file.project);
    let (new, old) = (file.io.buildpacks, file.build);
    let either = |new: Vec<String>, old: Vec<String>| if new.is_empty() { old } else { new };
    let mut variables = new.build.env;
    variables.extend(new.env.into_list());
    if variables.is_empty() {
        variables = old.env.into_list();
    }
    let declared =
        |key: &str, new: Vec<Spanned<Entry>>, old_key: &str, old: Vec<Spanned<Entry>>| {
            let (key, entries) = if new.is_empty() {
                (old_key, old)
            } else {
                (key, new)
            };
            entries
                .into_iter()
                .filter(|entry| is_for(&entry.get_ref().exec_env, exec_env))
                .map(|entry| {
                    let start = entry.span().start;
                    declare(entry.into_inner())
                        .map_err(|what| mistake(path, text, start, key, what))
                })
                .collect::<Result<Vec<_>, _>>()
        };
    Ok(Project {
        id: about.id.or(head.id).filter(|id| !id.is_empty()),
        include: either(new.include, old.include),
        exclude: either(new.exclude, old.exclude),
        env: variables
            .into_iter()
            .filter(|variable| is_for(&variable.exec_env, exec_env))
            .map(|variable| (variable.name, variable.value))
            .collect(),
        slices: file.slugc.slices,
        about: About {
            name: about.name.or(head.name),
            version: about.version.or(head.version),
            authors: either(about.authors, head.authors),
            licenses: about
                .licenses
                .into_iter()
                .chain(head.licenses)
                .filter_map(|license| license.kind)
                .collect(),
            documentation_url: about.documentation_url.or(head.documentation_url),
            source_url: about.source_url.or(head.source_url),
        },
        builder: new.builder.or(old.builder).filter(|name| !name.is_empty()),
        group: declared(
            "io.buildpacks.group",
            new.group,
            "build.buildpacks",
            old.group,
        )?,
        pre: declared(
            "io.buildpacks.pre.group",
            new.pre.group,
            "build.pre.buildpacks",
            old.pre.group,
        )?,
        post: declared(
            "io.buildpacks.post.group",
            new.post.group,
            "build.post.buildpacks",
            old.post.group,
        )?,
        folder: path.parent().unwrap_or(Path::new("")).to_owned(),
    })
}

/// Nothing named means every execution environment.
fn is_for(names: &[String], exec_env: &str) -> bool {
    names.is_empty() || names.iter().any(|name| name == "*" || name == exec_env)
}

/// What an entry of a group means, or what is wrong with it. As in pack, a URI wins over a script, and both over an ID.
fn declare(entry: Entry) -> Result<Declared, String> {
    let script = entry.script.filter(|_| entry.uri.is_empty());
    if let Some(script) = script {
        if entry.id.is_empty() {
            return Err("a buildpack with a script needs an id".to_owned());
        }
        if script.inline.is_empty() {
            return Err(format!("the script of {} has no inline text", entry.id));
        }
        if script.api.is_empty() {
            return Err(format!(
                "the script of {} does not say which Buildpack API it speaks: api = \"0.10\"",
                entry.id
            ));
        }
        if let Err(error) = entry.id.parse::<cnb_spec::names::BuildpackId>() {
            return Err(error.to_string());
        }
        let or = |text: String, default: &str| {
            if text.is_empty() {
                default.to_owned()
            } else {
                text
            }
        };
        return Ok(Declared::Inline(Inline {
            id: entry.id,
            version: or(entry.version, "0.0.0"),
            api: script.api,
            shell: or(script.shell, "/bin/sh"),
            script: script.inline,
        }));
    }
    if !entry.uri.is_empty() {
        return Ok(Declared::Reference(entry.uri));
    }
    if entry.id.is_empty() {
        return Err("a buildpack needs an id, a uri or a script".to_owned());
    }
    Ok(Declared::Reference(if entry.version.is_empty() {
        entry.id
    } else {
        format!("{}@{}", entry.id, entry.version)
    }))
}

/// What the grammar allows but the descriptor does not, with its place.
fn mistake(path: &Path, text: &str, at: usize, key: &str, message: String) -> FileError {
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    FileError::Parse {
        path: path.to_owned(),
        at: Mistake {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: Some(key.to_owned()),
            message,
        },
    }
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
