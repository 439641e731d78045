//! dpkg's database, written as dpkg itself leaves it after unpacking.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::control;
use crate::deb::Control;
use crate::relation;
use crate::unpack::Unpacked;

/// The database's folder in a root.
pub(crate) const FOLDER: &str = "var/lib/dpkg";

/// A file of the database that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write dpkg's database file {path}")]
pub struct DatabaseError {
    /// The file.
    path: PathBuf,
    /// What the system said.
    #[source]
    source: io::Error,
}

/// How dpkg names a package in its database: with the architecture where several may be installed.
pub(crate) fn qualified(control: &Control) -> String {
    let paragraph = control.paragraph();
    let name = paragraph.get("Package").unwrap_or_default();
    match (paragraph.get("Multi-Arch"), paragraph.get("Architecture")) {
        (Some("same"), Some(architecture)) => format!("{name}:{architecture}"),
        _ => name.to_owned(),
    }
}

/// Writes the database into `root`. What `below` (a root under it in an overlay) has already is
/// kept: the files that both share are written anew with the content of both.
pub(crate) fn write(
    root: &Path,
    below: Option<&Path>,
    architecture: &str,
    packages: &[&Unpacked],
) -> Result<(), DatabaseError> {
    let folder = root.join(FOLDER);
    for name in ["info", "triggers", "updates", "alternatives", "parts"] {
        make_folder(&folder.join(name))?;
    }
    let old = |name: &str| -> Result<String, DatabaseError> {
        match below {
            Some(below) => read_or_empty(&below.join(FOLDER).join(name)),
            None => Ok(String::new()),
        }
    };
    if below.is_none() {
        put(
            &folder.join("arch"),
            format!("{architecture}\n").as_bytes(),
            0o644,
        )?;
        put(&folder.join("info/format"), b"1\n", 0o644)?;
        for name in ["available", "diversions", "statoverride"] {
            put(&folder.join(name), b"", 0o644)?;
        }
    }
    put(
        &folder.join("status"),
        status(&old("status")?, packages).as_bytes(),
        0o644,
    )?;
    for package in packages {
        let name = qualified(&package.control);
        let info = |suffix: &str| folder.join("info").join(format!("{name}.{suffix}"));
        put(&info("list"), package.list.as_bytes(), 0o644)?;
        for (suffix, (mode, content)) in &package.control.files {
            put(&info(suffix), content, *mode)?;
        }
    }
    let mut interests = Interests::default();
    interests.add_file(&old("triggers/File")?);
    for package in packages {
        interests.add_package(&package.control);
    }
    put(
        &folder.join("triggers/File"),
        interests.file().as_bytes(),
        0o644,
    )?;
    for (trigger, packages) in &interests.explicit {
        let mut all: BTreeSet<String> = old(&format!("triggers/{trigger}"))?
            .lines()
            .map(str::to_owned)
            .collect();
        all.extend(packages.iter().cloned());
        put(
            &folder.join("triggers").join(trigger),
            lines(&all).as_bytes(),
            0o644,
        )?;
    }
    // dpkg takes up from here what unpacking the packages would have activated.
    put(
        &folder.join("triggers/Unincorp"),
        interests.activated(packages).as_bytes(),
        0o644,
    )
}

/// Packages that are not in the state "installed", with the state they are in.
pub(crate) fn unfinished(status: &str) -> Vec<String> {
    control::paragraphs(status)
        .filter_map(|paragraph| {
            let state = paragraph.get("Status")?;
            (state != "install ok installed")
                .then(|| format!("{} ({state})", paragraph.get("Package").unwrap_or_default()))
        })
        .collect()
}

/// The packages whose preinst script has to run: the essential ones, since one of them makes
/// `/etc/passwd`, then the others, each after those it depends on.
pub(crate) fn preinst_order<'u>(packages: &[&'u Unpacked]) -> Vec<&'u Control> {
    struct Walk<'u> {
        by_name: BTreeMap<&'u str, &'u Control>,
        seen: BTreeSet<&'u str>,
        order: Vec<&'u Control>,
    }
    impl<'u> Walk<'u> {
        fn visit(&mut self, name: &'u str) {
            let Some(control) = self.by_name.get(name).copied() else {
                return;
            };
            if !self.seen.insert(name) {
                return;
            }
            for field in ["Pre-Depends", "Depends"] {
                let text = control.paragraph().get(field).unwrap_or_default();
                for relation in relation::parse(text).flatten() {
                    self.visit(relation.name);
                }
            }
            self.order.push(control);
        }
    }
    let by_name: BTreeMap<_, _> = packages
        .iter()
        .filter_map(|package| {
            Some((
                package.control.paragraph().get("Package")?,
                &package.control,
            ))
        })
        .collect();
    let mut walk = Walk {
        by_name: by_name.clone(),
        seen: BTreeSet::new(),
        order: Vec::new(),
    };
    for name in by_name.keys() {
        walk.visit(name);
    }
    walk.order
        .retain(|control| control.files.contains_key("preinst"));
    walk.order
        .sort_by_key(|control| control.paragraph().get("Essential") != Some("yes"));
    walk.order
}

fn status(old: &str, packages: &[&Unpacked]) -> String {
    let mut entries = BTreeMap::new();
    for paragraph in old
        .split("\n\n")
        .map(|text| text.trim_matches('\n'))
        .filter(|text| !text.is_empty())
    {
        let name = control::Paragraph::new(paragraph)
            .get("Package")
            .unwrap_or_default();
        entries.insert(name.to_owned(), format!("{paragraph}\n\n"));
    }
    for package in packages {
        let name = package
            .control
            .paragraph()
            .get("Package")
            .unwrap_or_default();
        entries.insert(name.to_owned(), entry(&package.control));
    }
    entries.into_values().collect()
}

fn entry(control: &Control) -> String {
    let mut text = String::new();
    for (name, value) in control.paragraph().fields() {
        // Writing to a string cannot fail.
        let _ = if value.starts_with('\n') || value.is_empty() {
            writeln!(text, "{name}:{value}")
        } else {
            writeln!(text, "{name}: {value}")
        };
        if name.eq_ignore_ascii_case("Package") {
            text.push_str("Status: install ok unpacked\n");
        }
    }
    let mut conffiles = control.lines("conffiles").peekable();
    if conffiles.peek().is_some() {
        text.push_str("Conffiles:\n");
        for line in conffiles {
            // A flag before the path (`remove-on-upgrade`) means that there is no such file.
            if line.starts_with('/') {
                let _ = writeln!(text, " {line} newconffile");
            }
        }
    }
    text.push('\n');
    text
}

/// Who waits for which trigger (deb-triggers(5)).
#[derive(Default)]
struct Interests {
    files: BTreeSet<(String, String)>,
    explicit: BTreeMap<String, BTreeSet<String>>,
}

impl Interests {
    fn add_file(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((path, package)) = line.split_once(' ') {
                self.files.insert((path.to_owned(), package.to_owned()));
            }
        }
    }

    fn add_package(&mut self, control: &Control) {
        let name = qualified(control);
        for line in control.lines("triggers") {
            let mut words = line.split_whitespace();
            let (Some(directive), Some(trigger)) = (words.next(), words.next()) else {
                continue;
            };
            let package = match directive {
                "interest" | "interest-await" => name.clone(),
                "interest-noawait" => format!("{name}/noawait"),
                _ => continue,
            };
            if trigger.starts_with('/') {
                self.files.insert((trigger.to_owned(), package));
            } else {
                self.explicit
                    .entry(trigger.to_owned())
                    .or_default()
                    .insert(package);
            }
        }
    }

    fn file(&self) -> String {
        let lines = self
            .files
            .iter()
            .map(|(path, package)| format!("{path} {package}\n"));
        lines.collect()
    }

    /// File triggers that the new packages' files set off; nobody awaits them.
    fn activated(&self, packages: &[&Unpacked]) -> String {
        let triggers: BTreeSet<&str> = self.files.iter().map(|(path, _)| path.as_str()).collect();
        let is_below = |line: &str, trigger: &str| {
            line.strip_prefix(trigger)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        triggers
            .into_iter()
            .filter(|trigger| {
                packages
                    .iter()
                    .any(|package| package.list.lines().any(|line| is_below(line, trigger)))
            })
            .fold(String::new(), |text, trigger| text + trigger + " -\n")
    }
}

fn lines(all: &BTreeSet<String>) -> String {
    all.iter()
        .fold(String::new(), |text, line| text + line + "\n")
}

fn read_or_empty(path: &Path) -> Result<String, DatabaseError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(DatabaseError {
            path: path.to_owned(),
            source,
        }),
    }
}

fn make_folder(path: &Path) -> Result<(), DatabaseError> {
    let failed = |source| DatabaseError {
        path: path.to_owned(),
        source,
    };
    for folder in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
        match fs::create_dir(folder) {
            Ok(()) => {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) if folder.is_dir() => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}

fn put(path: &Path, content: &[u8], mode: u32) -> Result<(), DatabaseError> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.set_permissions(fs::Permissions::from_mode(mode))
        });
    written.map_err(|source| DatabaseError {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[path = "dpkg_tests.rs"]
mod tests;
