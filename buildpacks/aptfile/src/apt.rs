//! Debian's own apt, as nobody in particular and in folders of the build: it knows the archives' keys, what a package needs,
//! and how to fetch it. Nothing is installed: packages are only fetched here.

use crate::aptfile::Wanted;
use libcnb::Env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder with `dists` and `pool` that packages come from; the image's own sources count where it is not set.
pub(crate) const MIRROR_VARIABLE: &str = "BP_DEBIAN_MIRROR";
/// The same of the security archive, where it is not the mirror's neighbour.
pub(crate) const SECURITY_MIRROR_VARIABLE: &str = "BP_DEBIAN_SECURITY_MIRROR";

/// Debian's keys, where its package debian-archive-keyring puts them.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

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
        const WRONG: [&str; 6] = [
            "GPG error",
            "NO_PUBKEY",
            "is not signed",
            "is no longer signed",
            "Hash Sum mismatch",
            "signatures",
        ];
        match self {
            Self::Update { output, .. } | Self::Download { output } => {
                !WRONG.iter().any(|words| output.contains(words))
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
    settings: tempfile::TempDir,
    /// Keeps lists and packages for the next build.
    cache: PathBuf,
    env: &'a Env,
    mirror: String,
}

impl<'a> Apt<'a> {
    /// Writes the settings. `status` is dpkg's list of what is there.
    pub(crate) fn new(cache: &Path, status: &str, env: &'a Env) -> Result<Self, AptError> {
        let settings = tempfile::tempdir().map_err(|source| AptError::File {
            path: std::env::temp_dir(),
            source,
        })?;
        let write = |name: &str, text: &str| {
            let path = settings.path().join(name);
            fs::write(&path, text).map_err(|source| AptError::File { path, source })
        };
        // Of packages that are there already apt compares the size, not the digest; what a build left is not believed.
        let archives = cache.join("archives");
        match fs::remove_dir_all(&archives) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(AptError::File {
                    path: archives,
                    source: error,
                });
            }
            _ => {}
        }
        for folder in ["lists/partial", "archives/partial"] {
            let path = cache.join(folder);
            fs::create_dir_all(&path).map_err(|source| AptError::File { path, source })?;
        }
        write("status", status)?;
        let sources = sources(env)?;
        let mut conf = conf(settings.path(), cache);
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
            cache: cache.to_path_buf(),
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
        let words: Vec<String> = ["-qq", "--simulate", "install", "--"]
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

    /// Fetches packages; apt compares them with the signed lists. Returns their files, in order.
    pub(crate) fn fetch(&self, chosen: &[Chosen]) -> Result<Vec<PathBuf>, AptError> {
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
        let archives = self.cache.join("archives");
        let files: Vec<PathBuf> = chosen
            .iter()
            .map(|package| archives.join(package.file_name()))
            .collect();
        if !output.succeeded || files.iter().any(|file| !file.is_file()) {
            return Err(AptError::Download {
                output: output.text(),
            });
        }
        self.forget_others(&archives, &files)?;
        Ok(files)
    }

    /// Removes packages that no build needs any more, and what can be made again in a moment.
    fn forget_others(&self, archives: &Path, needed: &[PathBuf]) -> Result<(), AptError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| AptError::File { path, source }
        };
        let caches = ["pkgcache.bin", "srcpkgcache.bin"].map(|name| self.cache.join(name));
        let packages = fs::read_dir(archives).map_err(failed(archives))?;
        for path in packages.flatten().map(|entry| entry.path()).chain(caches) {
            if path.is_file() && !needed.contains(&path) {
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
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

/// `http://user:password@host/` as `http://***@host/`.
fn without_password(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace())
            .unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                shown.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    shown + rest
}

fn conf(settings: &Path, cache: &Path) -> String {
    let (settings, cache) = (settings.display(), cache.display());
    format!(
        "Dir::State \"{settings}\";\n\
         Dir::State::status \"{settings}/status\";\n\
         Dir::State::lists \"{cache}/lists\";\n\
         Dir::Cache \"{cache}\";\n\
         Dir::Cache::archives \"{cache}/archives\";\n\
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

struct Sources {
    mirror: String,
    lines: String,
}

/// Lines for the mirror that the user or the platform names; none where it names none.
fn sources(env: &Env) -> Result<Option<Sources>, AptError> {
    let value = |variable: &'static str| -> Result<Option<String>, AptError> {
        let Some(value) = env.get(variable).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let value = value.to_string_lossy().trim_end_matches('/').to_owned();
        let is_address = ["http://", "https://"].iter().any(|scheme| {
            value
                .strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty())
        }) && !value
            .contains(|c: char| c.is_whitespace() || c.is_control() || "[]#\"".contains(c));
        if !is_address {
            return Err(AptError::BadMirror {
                variable,
                value: without_password(&value),
            });
        }
        Ok(Some(value))
    };
    let Some(mirror) = value(MIRROR_VARIABLE)? else {
        return Ok(None);
    };
    let security = value(SECURITY_MIRROR_VARIABLE)?.unwrap_or_else(|| format!("{mirror}-security"));
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()));
    let (Some(suite), true) = (suite, release.lines().any(|line| line == "ID=debian")) else {
        // The variable is about Debian; other systems' images have sources of their own.
        return Ok(None);
    };
    let signed = KEYRINGS
        .iter()
        .find(|path| Path::new(path).is_file())
        .map_or_else(String::new, |path| format!("[signed-by={path}] "));
    Ok(Some(Sources {
        lines: format!(
            "deb {signed}{mirror} {suite} main\n\
             deb {signed}{mirror} {suite}-updates main\n\
             deb {signed}{security} {suite}-security main\n"
        ),
        mirror: without_password(&mirror),
    }))
}

/// Whether an image says itself where its packages come from.
fn has_own_sources(apt: &Path) -> bool {
    let names_one = |path: &Path| {
        fs::read_to_string(path).is_ok_and(|text| {
            text.lines().any(|line| {
                line.starts_with("deb ") || line.starts_with("deb [") || line.starts_with("URIs:")
            })
        })
    };
    let parts = fs::read_dir(apt.join("sources.list.d"));
    names_one(&apt.join("sources.list"))
        || parts
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| names_one(&entry.path()))
}

/// `Inst libpq5 [17.5-1] (17.6-1 Debian:13.1/stable [amd64])`, of which the middle is an installed version.
fn chosen(line: &str) -> Option<Chosen> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
    // What follows in brackets is about others.
    let inner = rest.split_once('(')?.1.split_once(')')?.0;
    let (version, rest) = inner.split_once(' ')?;
    let architecture = rest.rsplit_once('[')?.1.split(']').next()?;
    Some(Chosen {
        // Another architecture's package has it in its name.
        name: name.split(':').next()?.to_owned(),
        version: version.to_owned(),
        architecture: architecture.to_owned(),
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
        let found: Vec<String> = said
            .lines()
            .filter_map(chosen)
            .map(|package| package.file_name())
            .collect();
        assert_eq!(
            found,
            [
                "libfoo3_1%3a2.9.0-1+b2_amd64.deb",
                "cowsay_3.03+dfsg2-8_all.deb"
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

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("Err http://me:pw@host.example/debian and https://b/ x@y"),
            "Err http://***@host.example/debian and https://b/ x@y"
        );
    }

    #[test]
    fn a_mirror_is_an_address() {
        let mut env = Env::new();
        for bad in [
            "ftp://host",
            "http://",
            "http://host trusted=yes",
            "/srv/debian",
        ] {
            env.insert(MIRROR_VARIABLE, bad);
            assert!(
                matches!(sources(&env), Err(AptError::BadMirror { .. })),
                "{bad}"
            );
        }
    }
}
