//! What a build sees besides the app and its layers: network, volumes, service bindings, execution environment.

use crate::args::{NetworkChoice, SurroundingsArgs};
use crate::build::sandboxed;
use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::Printer;
use sandbox::{Mount, Network};
use slug_runtime::Binding;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything of one build, checked.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) network: Network,
    pub(crate) volumes: Vec<Mount>,
    pub(crate) bindings: Vec<Binding>,
    /// Seconds since 1970, where the user gave an instant.
    pub(crate) created: Option<i64>,
    pub(crate) exec_env: String,
    pub(crate) workspace: String,
    pub(crate) previous_image: Option<String>,
    pub(crate) report: Option<PathBuf>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            network: Network::Host,
            volumes: Vec::new(),
            bindings: Vec::new(),
            created: None,
            exec_env: crate::project::PRODUCTION.to_owned(),
            workspace: sandboxed::APP.to_owned(),
            previous_image: None,
            report: None,
        }
    }
}

impl Surroundings {
    pub(crate) fn of(args: &SurroundingsArgs, printer: &Printer) -> Result<Self, Failure> {
        Ok(Self {
            network: match args.network {
                NetworkChoice::Host => Network::Host,
                NetworkChoice::None => Network::None,
            },
            volumes: args
                .volumes
                .iter()
                .map(|text| volume(text, printer))
                .collect::<Result<_, _>>()?,
            bindings: bindings(&args.bindings)?,
            created: args.creation_time.as_deref().map(instant).transpose()?,
            exec_env: exec_env(&args.exec_env)?,
            workspace: workspace(&args.workspace)?,
            previous_image: args.previous_image.clone(),
            report: args.report_output_dir.clone(),
        })
    }

    /// Equal texts mean that a build sees the same. What is in a volume may change without a trace that could be
    /// looked at cheaply: with volumes, no two builds are the same.
    pub(crate) fn fingerprint(&self) -> Result<String, Failure> {
        let mut text = String::new();
        if !self.volumes.is_empty() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            text = format!("volumes at {:?}\n", now.unwrap_or_default());
        }
        for binding in &self.bindings {
            let print = oci_image::fingerprint::tree(&binding.folder)
                .or_fail(Exit::Input, || {
                    format!("cannot look at the binding {}", binding.name)
                })
                .map_err(|failure| failure.hint("make its files readable"))?;
            text = format!("{text}binding {} {print}\n", binding.name);
        }
        let usual = Self::default();
        if self.network != usual.network {
            text.push_str("no network\n");
        }
        if self.exec_env != usual.exec_env {
            text = format!("{text}for {}\n", self.exec_env);
        }
        if self.workspace != usual.workspace {
            text = format!("{text}in {}\n", self.workspace);
        }
        Ok(text)
    }
}

/// Those that are typed as `NAME=DIR`, each name once.
pub(crate) fn bindings(texts: &[String]) -> Result<Vec<Binding>, Failure> {
    let mut bindings: Vec<Binding> = Vec::new();
    for text in texts {
        let binding = binding(text)?;
        if bindings.iter().any(|known| known.name == binding.name) {
            return Err(Failure::new(
                Exit::Usage,
                format!("two bindings are called {}", binding.name),
            ));
        }
        bindings.push(binding);
    }
    Ok(bindings)
}

/// `NAME=DIR`.
fn binding(text: &str) -> Result<Binding, Failure> {
    let refused = |why: &str| {
        Failure::new(
            Exit::Usage,
            format!("{text:?} is no service binding: {why}"),
        )
        .hint("write NAME=DIR; the folder has a file `type` and one file for each secret")
    };
    let (name, folder) = text
        .split_once('=')
        .ok_or_else(|| refused("there is no ="))?;
    // The specification's names: those of DNS subdomains (RFC 1123).
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
        })
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if !is_name {
        return Err(refused(
            "its name may have lower-case letters, digits, - and ., and starts with a letter or a digit",
        ));
    }
    let folder = Path::new(folder)
        .canonicalize()
        .or_fail(Exit::Input, || format!("cannot find the binding {folder}"))?;
    let binding = Binding {
        name: name.to_owned(),
        folder,
    };
    if !binding.folder.join("type").is_file() {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "the binding {name} in {} has no file `type`",
                binding.folder.display()
            ),
        )
        .hint("the file says what is bound, for example postgresql"));
    }
    Ok(binding)
}

/// `SRC:DST[:ro|rw]`.
fn volume(text: &str, printer: &Printer) -> Result<Mount, Failure> {
    let refused = |why: &str| {
        Failure::new(Exit::Usage, format!("{text:?} is no volume: {why}"))
            .hint("write SRC:DST or SRC:DST:rw with absolute paths")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        [source, target] => (source, target, "ro"),
        [source, target, mode] => (source, target, mode),
        _ => return Err(refused("it has no target, or too many colons")),
    };
    let read_write = match mode {
        "ro" => false,
        "rw" => true,
        other => return Err(refused(&format!("{other:?} is neither ro nor rw"))),
    };
    let target = inside(target).ok_or_else(|| refused("the target is no absolute path"))?;
    // What the phases exchange with each other and the host's own files.
    let is_taken = [
        "/",
        "/proc",
        "/dev",
        "/sys",
        "/cnb/lifecycle",
        "/cnb/order.toml",
    ]
    .iter()
    .any(|path| target == Path::new(path))
        || target.starts_with(sandboxed::EXCHANGE)
        || target == Path::new(sandboxed::LAYERS)
        || target == Path::new(sandboxed::PLATFORM);
    if is_taken {
        return Err(refused(&format!(
            "{} is what the build itself has there",
            target.display()
        )));
    }
    if ["/cnb", sandboxed::LAYERS]
        .iter()
        .any(|path| target.starts_with(path))
    {
        printer.warning(&format!(
            "the volume {} stands in a folder of the lifecycle",
            target.display()
        ));
    }
    let source = Path::new(source)
        .canonicalize()
        .or_fail(Exit::Input, || format!("cannot find the volume {source}"))?;
    Ok(if read_write {
        Mount::read_write(source, target)
    } else {
        Mount::read_only(source, target)
    })
}

/// An absolute path without anything that climbs.
fn inside(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    (path.is_absolute() && plain).then(|| path.components().collect())
}

/// Seconds since 1970 or `now`.
fn instant(text: &str) -> Result<i64, Failure> {
    if text == "now" {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        return Ok(since.map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        }));
    }
    // The year 9999 is the last that images can name.
    text.parse::<i64>()
        .ok()
        .filter(|seconds| (0..=253_402_300_799).contains(seconds))
        .ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{text:?} is no time of creation"))
                .hint("write seconds since 1970, for example 1700000000, or now")
        })
}

/// Letters, digits, `.`, `-` and `_` (Platform API 0.15, "Execution Environments").
fn exec_env(text: &str) -> Result<String, Failure> {
    let is_name = !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    if is_name {
        return Ok(text.to_owned());
    }
    Err(Failure::new(
        Exit::Usage,
        format!("{text:?} cannot be an execution environment"),
    )
    .hint("use letters, digits, . - and _, for example production or test"))
}

fn workspace(text: &str) -> Result<String, Failure> {
    let refused = |why: &str| {
        Failure::new(
            Exit::Usage,
            format!("{text:?} cannot be the workspace: {why}"),
        )
        .hint("name a folder of its own, for example /app")
    };
    let path = inside(text).ok_or_else(|| refused("it is no absolute path"))?;
    let text = path.to_str().ok_or_else(|| refused("it is no UTF-8"))?;
    let system = [
        "/bin",
        "/boot",
        "/cnb",
        "/dev",
        "/etc",
        "/layers",
        "/lib",
        "/lib64",
        "/platform",
        "/proc",
        "/run",
        "/sbin",
        "/slugc",
        "/sys",
        "/tmp",
        "/usr",
    ];
    if text == "/" || system.iter().any(|folder| path.starts_with(folder)) {
        return Err(refused("the system has its own files there"));
    }
    if ["/home", "/root", "/var", "/opt"].contains(&text) {
        return Err(refused("other files are there"));
    }
    if path.starts_with(sandboxed::HOME) {
        return Err(refused("the build's user has an empty home there"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[path = "surroundings_tests.rs"]
mod tests;
