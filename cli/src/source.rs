//! The app's source: what belongs to it, whether it changed, and a private copy for the build.

use crate::failure::{Exit, Failure, OrFail};
use crate::project::Project;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

mod copies;
mod secrets;

pub(crate) use copies::Copies;
use secrets::Secrets;

/// Never part of an app: version control, and bytecode that a local Python left.
const ALWAYS_EXCLUDED: &str = ".git\n.hg\n.svn\n__pycache__\n*.pyc\n.DS_Store\n";

/// One file, folder or link of the source, as its folder listed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the source.
    path: PathBuf,
    kind: Kind,
    stat: Stat,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Folder,
    File { executable: bool },
    Link { target: OsString },
}

/// What tells, without reading it, that a file is the one that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stat {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether the file changed so short a time ago that the next change may leave the same time behind: file systems
    /// stamp with ticks of a clock, some with whole seconds.
    fn may_change_unseen(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let tick = if nanoseconds == 0 {
            Duration::from_secs(2)
        } else {
            copies::TICK
        };
        let changed = u64::try_from(seconds)
            .ok()
            .zip(u32::try_from(nanoseconds).ok());
        changed.is_none_or(|(seconds, nanoseconds)| {
            let changed = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
            now.duration_since(changed).is_ok_and(|age| age < tick)
        })
    }
}

/// A listed source.
#[derive(Debug)]
pub(crate) struct Source {
    root: PathBuf,
    entries: Vec<Entry>,
    /// Files that were left out because they hold secrets.
    secrets: Vec<PathBuf>,
}

impl Source {
    /// Lists an app's folder by its metadata; of the files, only those are opened whose name leaves open whether they hold
    /// secrets.
    ///
    /// `.slugignore` has .gitignore's syntax; `project.toml`'s `include` and `exclude` too.
    pub(crate) fn list(root: &Path, project: &Project) -> Result<Self, Failure> {
        let root = root
            .canonicalize()
            .or_fail(Exit::Input, || {
                format!("cannot find the app {}", root.display())
            })
            .map_err(|failure| {
                failure.hint("give the path of the app's folder: slugc build PATH")
            })?;
        let meta = fs::metadata(&root)
            .or_fail(Exit::Input, || format!("cannot look at {}", root.display()))?;
        if !meta.is_dir() {
            return Err(Failure::new(
                Exit::Input,
                format!("the app {} is not a folder", root.display()),
            )
            .hint("give the path of the app's folder: slugc build PATH"));
        }
        let rules = Rules::read(&root, project)?;
        let mut source = Self {
            root,
            entries: Vec::new(),
            secrets: Vec::new(),
        };
        source.walk(Path::new(""), &rules)?;
        Ok(source)
    }

    /// The files that were left out because they hold secrets, relative to the source.
    pub(crate) fn secrets(&self) -> &[PathBuf] {
        &self.secrets
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// How many files and how many bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        let files = self
            .entries
            .iter()
            .filter(|entry| matches!(entry.kind, Kind::File { .. }));
        files.fold((0, 0), |(count, bytes), entry| {
            (count + 1, bytes + entry.stat.size)
        })
    }

    /// A line for each entry; equal lines mean an untouched source.
    pub(crate) fn fingerprint(&self) -> String {
        let mut text = String::new();
        text.push_str(&self.root.to_string_lossy());
        text.push('\n');
        for entry in &self.entries {
            let stat = entry.stat;
            let kind = match &entry.kind {
                Kind::Folder => "d".to_owned(),
                Kind::File { executable } => format!("f{}", u8::from(*executable)),
                Kind::Link { target } => format!("l{}", target.display()),
            };
            let path = entry.path.display();
            // A folder's times change with files that are not part of the source.
            let line = if matches!(entry.kind, Kind::Folder) {
                format!("{path}\0{kind}\n")
            } else {
                format!(
                    "{path}\0{kind}\0{}\0{}\0{:?}\0{:?}\n",
                    stat.inode, stat.size, stat.modified, stat.changed
                )
            };
            text.push_str(&line);
        }
        oci_image::Digest::of(text.as_bytes()).to_string()
    }

    /// Lays the source out in `into`, an empty folder, with links in the place of files: for those who only look at it.
    pub(crate) fn link(&self, into: &Path) -> Result<(), Failure> {
        for entry in &self.entries {
            let to = into.join(&entry.path);
            let made = match &entry.kind {
                Kind::Folder => make_folder(&to),
                Kind::Link { target } => symlink(target, &to),
                Kind::File { .. } => symlink(self.root.join(&entry.path), &to),
            };
            made.or_fail(Exit::General, || format!("cannot make {}", to.display()))?;
        }
        Ok(())
    }
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(copies::FOLDER))
}

fn vanished(path: &Path) -> Failure {
    Failure::new(
        Exit::Input,
        format!("{} vanished while the source was read", path.display()),
    )
    .hint("run slugc build again when nothing writes to the folder, or leave the file out in .slugignore")
}

fn changed(path: &Path) -> Failure {
    Failure::new(
        Exit::Input,
        format!("{} changed while it was read", path.display()),
    )
    .hint("run slugc build again when nothing writes to the file, or leave it out in .slugignore")
}

/// Which paths belong to the source.
struct Rules {
    ignored: Gitignore,
    included: Option<Gitignore>,
    secrets: Secrets,
}

/// What becomes of a path.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    In,
    Out,
    /// Out, and the user hears of it.
    Secret,
}

impl Rules {
    fn read(root: &Path, project: &Project) -> Result<Self, Failure> {
        let mut ignored = GitignoreBuilder::new(root);
        for line in ALWAYS_EXCLUDED.lines() {
            add_line(&mut ignored, "slugc's own list", line)?;
        }
        for line in &project.exclude {
            add_line(&mut ignored, "project.toml's exclude", line)?;
        }
        let file = root.join(".slugignore");
        match fs::read_to_string(&file) {
            Ok(text) => {
                for line in text.lines() {
                    add_line(&mut ignored, ".slugignore", line)?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(
                    Failure::new(Exit::Input, format!("cannot read {}", file.display()))
                        .because(error),
                );
            }
        }
        let included = if project.include.is_empty() {
            None
        } else {
            let mut included = GitignoreBuilder::new(root);
            for line in &project.include {
                add_line(&mut included, "project.toml's include", line)?;
            }
            Some(finish(&included)?)
        };
        Ok(Self {
            ignored: finish(&ignored)?,
            included,
            secrets: Secrets::read(),
        })
    }

    /// Whether the entry, and what lies below it, is out. A secret is in when `.slugignore` names it (`!path`).
    fn verdict(&self, root: &Path, path: &Path, folder: bool) -> Verdict {
        let ignored = self.ignored.matched(path, folder);
        if matches!(ignored, Match::Ignore(_)) {
            return Verdict::Out;
        }
        let is_left_out = match &self.included {
            // A folder may hold something that is included.
            Some(included) if !folder => !matches!(
                included.matched_path_or_any_parents(path, false),
                Match::Ignore(_)
            ),
            _ => false,
        };
        let is_secret = |name: &OsStr| self.secrets.has(root, path, name.as_encoded_bytes());
        if is_left_out {
            Verdict::Out
        } else if !folder && ignored.is_none() && path.file_name().is_some_and(is_secret) {
            Verdict::Secret
        } else {
            Verdict::In
        }
    }
}

fn add_line(builder: &mut GitignoreBuilder, place: &str, line: &str) -> Result<(), Failure> {
    builder.add_line(None, line).or_fail(Exit::Input, || {
        format!("{place} has a pattern that cannot be used: {line:?}")
    })?;
    Ok(())
}

fn finish(builder: &GitignoreBuilder) -> Result<Gitignore, Failure> {
    builder.build().or_fail(Exit::Input, || {
        "the patterns of ignored files cannot be used".to_owned()
    })
}

impl Source {
    fn walk(&mut self, folder: &Path, rules: &Rules) -> Result<(), Failure> {
        let path = self.root.join(folder);
        let reading = || format!("cannot list {}", path.display());
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => vanished(&path),
            _ => Failure::new(Exit::Input, reading())
                .because(error)
                .hint("make the folder readable, or leave it out in .slugignore"),
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            names.push(entry.map_err(unreadable)?.file_name());
        }
        names.sort();
        // What `python -m venv` and `slugc build -o` made here is made again, and is no source.
        let has = |name: &str| names.iter().any(|entry| entry == name);
        let is_output = has("pyvenv.cfg") || (has("oci-layout") && has("index.json"));
        if is_output && folder != Path::new("") {
            self.entries.pop();
            return Ok(());
        }
        let handle = rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .or_fail(Exit::Input, reading)?;
        for name in names {
            let relative = folder.join(&name);
            let full = self.root.join(&relative);
            let stat = match rustix::fs::statat(&handle, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(rustix::io::Errno::NOENT) => return Err(vanished(&full)),
                Err(error) => {
                    return Err(Failure::new(
                        Exit::Input,
                        format!("cannot look at {}", full.display()),
                    )
                    .because(error));
                }
            };
            let file_type = FileType::from_raw_mode(stat.st_mode);
            match rules.verdict(&self.root, &relative, file_type == FileType::Directory) {
                Verdict::In => {}
                Verdict::Out => continue,
                Verdict::Secret => {
                    self.secrets.push(relative);
                    continue;
                }
            }
            let kind = match file_type {
                FileType::Directory => Kind::Folder,
                FileType::RegularFile => Kind::File {
                    executable: stat.st_mode & 0o111 != 0,
                },
                FileType::Symlink => Kind::Link {
                    target: link_target(&full, &relative)?,
                },
                // Sockets and pipes belong to running programs, not to a source.
                _ => continue,
            };
            let below = matches!(kind, Kind::Folder);
            self.entries.push(Entry {
                path: relative.clone(),
                kind,
                stat: Stat {
                    inode: stat.st_ino,
                    size: u64::try_from(stat.st_size).unwrap_or(0),
                    modified: (
                        stat.st_mtime,
                        i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
                    ),
                    changed: (
                        stat.st_ctime,
                        i64::try_from(stat.st_ctime_nsec).unwrap_or(0),
                    ),
                },
            });
            if below {
                self.walk(&relative, rules)?;
            }
        }
        Ok(())
    }
}

/// A link's target; one that leads out of the source would lead nowhere in the image, or worse,
/// somewhere.
fn link_target(full: &Path, relative: &Path) -> Result<OsString, Failure> {
    let target = fs::read_link(full).or_fail(Exit::Input, || {
        format!("cannot read the link {}", full.display())
    })?;
    let mut depth = relative.components().count() - 1;
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Failure::new(
                    Exit::Input,
                    format!(
                        "the link {} leads out of the app's folder, to {}",
                        full.display(),
                        target.display()
                    ),
                )
                .hint(
                    "replace it by a copy of what it points to, or leave it out in .slugignore",
                ));
            }
        }
    }
    debug_assert!(!target.as_os_str().as_bytes().is_empty());
    Ok(target.into_os_string())
}
