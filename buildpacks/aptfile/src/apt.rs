//! Debian's own apt, as nobody in particular and in folders of the build: it knows the archives' keys, what a package needs,
//! and how to fetch it. Nothing is installed: packages are only fetched here.

use crate::aptfile::Wanted;
use crate::fault::Fault;
use crate::mirror::{Sources, has_own_sources, sources, without_password};
use libcnb::Env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Why apt could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AptError {
    #[error("the build image has no {program}")]
    Missing {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("no archive of packages is named")]
    NoMirror,
    #[error("{variable} is no address: {value}")]
    BadMirror {
        variable: &'static str,
        value: String,
    },
    #[error("the archives' lists could not be fetched")]
    Update { mirror: String, output: String },
    #[error("the packages can't be had together")]
    Resolve {
        output: String,
        /// Names that no archive has, each with names like it.
        unknown: Vec<(String, Vec<String>)>,
    },
    #[error("the packages could not be fetched")]
    Download { output: String },
    #[error("could not use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl AptError {
    /// Whether the archives could not be reached, and not what they have is wrong.
    pub(crate) fn is_of_network(&self) -> bool {
        match self {
            Self::Update { output, .. } | Self::Download { output } => {
                Fault::of(output) == Fault::Unreachable
            }
            _ => false,
        }
    }
}

/// A package that apt would install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    /// The version in the image that runs the app, if it has another one.
    pub(crate) replaces: Option<String>,
}

impl Chosen {
    /// What apt calls its file.
    fn file_name(&self) -> String {
        format!(
            "{}_{}_{}.deb",
            self.name,
            self.version.replace(':', "%3a"),
            self.architecture
        )
    }
}

/// apt with settings for one build; they are gone with the value.
pub(crate) struct Apt<'a> {
    /// In memory where the platform has it so: passwords may be in it.
    settings: TempDir,
    /// With the packages that were fetched. Of packages that are there already apt compares the size, not the digest:
    /// what an earlier build left would not be believed.
    scratch: TempDir,
    env: &'a Env,
    mirror: String,
}

/// Packages that were fetched; they are gone with the value.
pub(crate) struct Fetched {
    /// In the order in which they were asked for.
    pub(crate) files: Vec<PathBuf>,
    _scratch: TempDir,
}

impl<'a> Apt<'a> {
    /// Writes the settings. `cache` keeps lists for the next build, packages lie in `scratch` meanwhile; `status` is dpkg's
    /// list of what is there.
    pub(crate) fn new(
        cache: &Path,
        scratch: &Path,
        status: &str,
        env: &'a Env,
    ) -> Result<Self, AptError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| AptError::File { path, source }
        };
        let settings = tempfile::tempdir().map_err(failed(&std::env::temp_dir()))?;
        let scratch = tempfile::tempdir_in(scratch).map_err(failed(scratch))?;
        let write = |name: &str, text: &str| {
            let path = settings.path().join(name);
            fs::write(&path, text).map_err(failed(&path))
        };
        for path in [
            cache.join("lists/partial"),
            scratch.path().join("archives/partial"),
        ] {
            fs::create_dir_all(&path).map_err(failed(&path))?;
        }
        write("status", status)?;
        let sources = sources(env)?;
        let mut conf = conf(settings.path(), cache, scratch.path());
        let mirror = if let Some(Sources { mirror, lines }) = sources {
            write("sources.list", &lines)?;
            // Writing into a String can't fail.
            let _ = writeln!(
                conf,
                "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/dev/null\";",
                settings.path().join("sources.list").display()
            );
            mirror
        } else if has_own_sources(Path::new("/etc/apt")) {
            "the build image's own sources".to_owned()
        } else {
            return Err(AptError::NoMirror);
        };
        if let Some(bundle) = env.get("SSL_CERT_FILE") {
            let bundle = bundle.to_string_lossy();
            if !bundle.contains('"') {
                let _ = writeln!(conf, "Acquire::https::CaInfo \"{bundle}\";");
            }
        }
        write("apt.conf", &conf)?;
        Ok(Self {
            settings,
            scratch,
            env,
            mirror,
        })
    }

    /// Where packages come from, for people.
    pub(crate) fn mirror(&self) -> &str {
        &self.mirror
    }

    /// Fetches the archives' signed lists.
    pub(crate) fn update(&self) -> Result<(), AptError> {
        let output = self.run("apt-get", ["--error-on=any", "update"])?;
        if output.succeeded {
            return Ok(());
        }
        Err(AptError::Update {
            mirror: self.mirror.clone(),
            output: output.text(),
        })
    }

    /// What has to be brought so that the wanted packages work.
    pub(crate) fn resolve(&self, wanted: &[Wanted]) -> Result<Vec<Chosen>, AptError> {
        let words: Vec<String> = ["-qq", "--simulate", "--no-remove", "install", "--"]
            .into_iter()
            .map(str::to_owned)
            .chain(wanted.iter().map(ToString::to_string))
            .collect();
        let output = self.run("apt-get", &words)?;
        if !output.succeeded {
            let missing = unlocated(&output.said);
            let unknown = if missing.is_empty() {
                Vec::new()
            } else {
                let names = self.run("apt-cache", ["pkgnames"])?.stdout;
                missing
                    .into_iter()
                    .map(|name| {
                        let like = nearest(&name, names.lines());
                        (name, like)
                    })
                    .collect()
            };
            return Err(AptError::Resolve {
                output: output.text(),
                unknown,
            });
        }
        let mut chosen: Vec<Chosen> = output.stdout.lines().filter_map(chosen).collect();
        chosen.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(chosen)
    }

    /// Fetches packages; apt compares them with the signed lists.
    pub(crate) fn fetch(self, chosen: &[Chosen]) -> Result<Fetched, AptError> {
        let words: Vec<String> = ["-qq", "--yes", "--download-only", "--allow-downgrades"]
            .into_iter()
            .map(str::to_owned)
            .chain(["install".to_owned(), "--".to_owned()])
            .chain(
                chosen
                    .iter()
                    .map(|package| format!("{}={}", package.name, package.version)),
            )
            .collect();
        let output = self.run("apt-get", &words)?;
        let archives = self.scratch.path().join("archives");
        let files: Vec<PathBuf> = chosen
            .iter()
            .map(|package| archives.join(package.file_name()))
            .collect();
        if !output.succeeded || files.iter().any(|file| !file.is_file()) {
            return Err(AptError::Download {
                output: output.text(),
            });
        }
        Ok(Fetched {
            files,
            _scratch: self.scratch,
        })
    }

    fn run<S: AsRef<OsStr>>(
        &self,
        program: &'static str,
        words: impl IntoIterator<Item = S>,
    ) -> Result<Output, AptError> {
        let output = Command::new(program)
            .arg("-c")
            .arg(self.settings.path().join("apt.conf"))
            .args(words)
            .stdin(Stdio::null())
            .env_clear()
            .envs(self.env)
            // Its words are read, and shown to people of all languages.
            .env("LC_ALL", "C")
            .env("LANGUAGE", "C")
            .env_remove("APT_CONFIG")
            .output()
            .map_err(|source| AptError::Missing { program, source })?;
        Ok(Output {
            succeeded: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

struct Output {
    succeeded: bool,
    stdout: String,
    /// On the standard error.
    said: String,
}

impl Output {
    /// What it said, without what is about the way in which it is used here, and without passwords.
    fn text(&self) -> String {
        self.stdout
            .lines()
            .chain(self.said.lines())
            .filter(|line| !line.trim().is_empty() && !is_progress(line))
            .map(without_password)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Lines about what is being done.
fn is_progress(line: &str) -> bool {
    [
        "Building dependency tree",
        "Get:",
        "Hit:",
        "Ign:",
        "Reading package lists",
        "Reading state information",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}

fn conf(settings: &Path, cache: &Path, scratch: &Path) -> String {
    let (settings, cache, scratch) = (settings.display(), cache.display(), scratch.display());
    format!(
        "Dir::State \"{settings}\";\n\
         Dir::State::status \"{settings}/status\";\n\
         Dir::State::lists \"{cache}/lists\";\n\
         Dir::Cache \"{scratch}\";\n\
         Dir::Cache::archives \"{scratch}/archives\";\n\
         Debug::NoLocking \"1\";\n\
         APT::Cmd::Pattern-Only \"true\";\n\
         APT::Install-Recommends \"false\";\n\
         APT::Install-Suggests \"false\";\n\
         APT::Get::AllowUnauthenticated \"false\";\n\
         APT::Get::Show-User-Simulation-Note \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Keep-Downloaded-Packages \"true\";\n\
         Acquire::AllowInsecureRepositories \"false\";\n\
         Acquire::AllowDowngradeToInsecureRepositories \"false\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::GzipIndexes \"true\";\n\
         Acquire::Retries \"2\";\n\
         Acquire::http::Timeout \"30\";\n\
         Acquire::https::Timeout \"30\";\n"
    )
}

/// `Inst libpq5 [17.5-1] (17.6-1 Debian:13.1/stable [amd64])`, of which the middle is an installed version.
fn chosen(line: &str) -> Option<Chosen> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    let replaces = rest
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(version, _)| version.to_owned());
    // What follows in brackets is about others.
    let inner = rest.split_once('(')?.1.split_once(')')?.0;
    let (version, rest) = inner.split_once(' ')?;
    let architecture = rest.rsplit_once('[')?.1.split(']').next()?;
    Some(Chosen {
        // Another architecture's package has it in its name.
        name: name.split(':').next()?.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
        replaces,
    })
}

/// The names of which apt says that no archive has them.
fn unlocated(said: &str) -> Vec<String> {
    said.lines()
        .filter_map(|line| line.strip_prefix("E: Unable to locate package "))
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Up to three names that are most like one.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    const SHOWN: usize = 3;
    // Everything is like what is short.
    const SHORTEST: usize = 4;
    if wanted.len() < SHORTEST {
        return Vec::new();
    }
    let most = wanted.len() / 3;
    // Versions are part of libraries' names: libpq6 was meant as libpq5.
    let stem = wanted.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let distance = distance(wanted, name, most.max(1))?;
            let bonus = usize::from(!(stem.len() > 3 && name.starts_with(stem)));
            Some((2 * distance + bonus, name))
        })
        .collect();
    found.sort_unstable();
    found
        .into_iter()
        .take(SHOWN)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// How many letters have to be changed, added or removed; `None` if more than `most`.
fn distance(one: &str, other: &str, most: usize) -> Option<usize> {
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, against) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_simulated_install() {
        let said = "NOTE: x\nInst libfoo3 [1:2.8-1] (1:2.9.0-1+b2 Debian:13.8/stable, Debian-Security:13 [amd64]) []\n\
                    Inst cowsay (3.03+dfsg2-8 Debian:13.8/stable [all])\nConf cowsay (3.03 x [all])\n";
        let found: Vec<_> = said
            .lines()
            .filter_map(chosen)
            .map(|package| (package.file_name(), package.replaces))
            .collect();
        assert_eq!(
            found,
            [
                (
                    "libfoo3_1%3a2.9.0-1+b2_amd64.deb".to_owned(),
                    Some("1:2.8-1".to_owned())
                ),
                ("cowsay_3.03+dfsg2-8_all.deb".to_owned(), None)
            ]
        );
    }

    #[test]
    fn names_that_may_be_meant() {
        let names = [
            "libpq5",
            "libpq-dev",
            "libpaper2",
            "ffmpeg",
            "ffmpegfs",
            "zsh",
        ];
        let near = |wanted: &str| nearest(wanted, names.into_iter());
        assert_eq!(near("libpq6"), ["libpq5"]);
        assert_eq!(near("ffmpg"), ["ffmpeg"]);
        assert_eq!(near("nothing-like-it"), [] as [&str; 0]);
        assert_eq!(
            unlocated("E: Unable to locate package ffmpg\nE: other\n"),
            ["ffmpg"]
        );
    }
}
