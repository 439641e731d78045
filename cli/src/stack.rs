//! Stacks in the store: made on first use, read ever after.

mod images;

use crate::app;
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::isolation;
use crate::store::{self, Store};
use crate::ui::printer::Printer;
use crate::ui::size;
use debian_stack::{
    Configure, ConfigureRequest, Content, DEFAULT, Dirs, Inputs, Lock, Mirrors, Progress, Recipe,
    StackLayer, Target,
};
use oci_image::{Compression, Descriptor, Digest, History, Image, LayerBlob};
use rustix::fs::FlockOperation;
use sandbox::{Filter, Network, Root, Sandbox, Stream, Writable};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A stack in the store: `stack.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stack {
    pub(crate) name: String,
    /// Of the recipe and the lock: another one asks for another stack.
    pub(crate) recipe: String,
    /// For people: distribution, packages.
    pub(crate) summary: String,
    pub(crate) run_image: Descriptor,
    pub(crate) build_image: Descriptor,
    pub(crate) run: LayerBlob,
    pub(crate) build: LayerBlob,
    /// Who builds and runs.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The build image's environment.
    pub(crate) env: Vec<(String, String)>,
    /// Where the layers are unpacked, topmost first; known to the store that it was read from.
    #[serde(skip)]
    lowers: Vec<PathBuf>,
}

/// How a stack is to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) mirror: Option<&'a str>,
    /// Today's packages instead of the locked ones.
    pub(crate) update: bool,
    pub(crate) force: bool,
}

impl Stack {
    /// Reads a stack; `None` when it was not made, or its roots were removed.
    pub(crate) fn read(store: &Store, name: &str) -> Result<Option<Self>, Failure> {
        let Some(mut stack) = app::read_json::<Self>(&store.stack(name).join("stack.json"))? else {
            return Ok(None);
        };
        stack.lowers = [stack.build.diff_id, stack.run.diff_id]
            .map(|diff_id| store.roots().join(diff_id.hex()))
            .to_vec();
        let complete = stack.lowers.iter().all(|root| root.is_dir());
        Ok(complete.then_some(stack))
    }

    /// The unpacked layers of the build image, topmost first.
    pub(crate) fn build_lowers(&self) -> Vec<PathBuf> {
        self.lowers.clone()
    }

    pub(crate) fn lock_file(store: &Store, name: &str) -> PathBuf {
        store.stack(name).join("lock.toml")
    }
}

/// The stack, bootstrapped if it is not there or if slugc brings a newer recipe.
pub(crate) fn ensure(
    store: &Store,
    printer: &Printer,
    name: &str,
    mirror: Option<&str>,
) -> Result<Stack, Failure> {
    let making = Making {
        mirror,
        update: false,
        force: false,
    };
    make(store, printer, name, &making)
}

/// Makes a stack unless it is there already.
pub(crate) fn make(
    store: &Store,
    printer: &Printer,
    name: &str,
    making: &Making<'_>,
) -> Result<Stack, Failure> {
    let identity = identity(name)?;
    let current = |stack: &Stack| stack.recipe == identity && !making.force && !making.update;
    if let Some(stack) = Stack::read(store, name)?
        && current(&stack)
    {
        return Ok(stack);
    }
    let _lock = store::lock(
        &store.stacks().join(format!("{name}.lock")),
        FlockOperation::LockExclusive,
    )?;
    // Another slugc may have made it while this one waited.
    if let Some(stack) = Stack::read(store, name)?
        && current(&stack)
    {
        return Ok(stack);
    }
    bootstrap(store, printer, name, &identity, making)
}

/// Of the recipe and the lock that slugc brings: what it makes of others is to be made again.
pub(crate) fn identity(name: &str) -> Result<String, Failure> {
    let (recipe, lock) =
        debian_stack::builtin_text(name, architecture()?).ok_or_else(|| unknown(name))?;
    Ok(Digest::of(format!("{recipe}\n{}", lock.unwrap_or_default()).as_bytes()).to_string())
}

fn unknown(name: &str) -> Failure {
    Failure::new(Exit::Usage, format!("there is no stack {name:?}"))
        .hint(format!("slugc knows how to make {DEFAULT}"))
}

fn architecture() -> Result<&'static str, Failure> {
    let arch = std::env::consts::ARCH;
    debian_stack::architecture_of(arch).ok_or_else(|| {
        Failure::new(
            Exit::General,
            format!("Debian has no packages for this machine's architecture, {arch}"),
        )
    })
}

fn bootstrap(
    store: &Store,
    printer: &Printer,
    name: &str,
    identity: &str,
    making: &Making<'_>,
) -> Result<Stack, Failure> {
    let start = Instant::now();
    printer.heading(&format!(
        "Making the stack {name} from Debian packages (once)"
    ));
    let (recipe, made) = assemble(store, printer, name, making)?;
    let stack = save(store, &recipe, &made, identity, architecture()?)?;
    printer.line(&format!(
        "{name}: {}, in {}",
        stack.summary,
        size::duration(start.elapsed())
    ));
    Ok(stack)
}

/// Turns a recipe that slugc brings into unpacked roots in the store, and tells how it goes.
pub(crate) fn assemble(
    store: &Store,
    printer: &Printer,
    name: &str,
    making: &Making<'_>,
) -> Result<(Recipe, debian_stack::Stack), Failure> {
    isolation::warn_if_weak(printer);
    let architecture = architecture()?;
    let recipe = debian_stack::builtin_recipe(name)
        .ok_or_else(|| unknown(name))?
        .or_fail(Exit::General, || {
            format!("cannot use slugc's own recipe of {name}")
        })?;
    let lock = match debian_stack::builtin_lock(name, architecture) {
        Some(lock) if !making.update => Some(lock.or_fail(Exit::General, || {
            format!("cannot use slugc's own lock of {name}")
        })?),
        _ => None,
    };
    let mirrors = mirrors(making.mirror)?;
    let folder = store.stack(name);
    let dirs = Dirs {
        downloads: folder.join("downloads"),
        work: folder.join("work"),
        roots: store.roots(),
    };
    // What a killed bootstrap left; downloads are taken up again.
    store::remove_tree(&dirs.work)?;
    fs::create_dir_all(&folder)
        .or_fail(Exit::Store, || format!("cannot make {}", folder.display()))?;
    let made = match run_bootstrap(store, printer, &recipe, lock.as_ref(), &mirrors, &dirs, architecture) {
        Err(debian_stack::Error::PackageGone { package, version, .. }) => {
            printer.warning(&format!(
                "the mirror no longer has {package} {version}, which slugc's lock names: today's packages are taken \
                 instead, so images differ from those of other machines"
            ));
            run_bootstrap(store, printer, &recipe, None, &mirrors, &dirs, architecture)
        }
        made => made,
    }
    .map_err(|error| bootstrap_failure(name, error))?;
    store::remove_tree(&dirs.work)?;
    Ok((recipe, made))
}

fn run_bootstrap(
    store: &Store,
    printer: &Printer,
    recipe: &Recipe,
    lock: Option<&Lock>,
    mirrors: &Mirrors,
    dirs: &Dirs,
    architecture: &str,
) -> Result<debian_stack::Stack, debian_stack::Error> {
    let bar = printer.bytes_bar(0, "Packages");
    let progress = |event: Progress<'_>| match event {
        Progress::Resolving => printer.line("Reading the package indexes"),
        Progress::Resolved { packages, bytes } => {
            bar.set_length(bytes);
            printer.line(&format!("{packages} packages, {}", size::bytes(bytes)));
        }
        Progress::Received(bytes) => bar.inc(bytes),
        Progress::Configuring(layer) => {
            bar.finish_and_clear();
            printer.line(&format!("Configuring the {} layer", layer.name()));
        }
        Progress::Writing(layer) => printer.detail(&format!("Writing the {} layer", layer.name())),
        _ => {}
    };
    let proxy = host::proxy_for(&mirrors.base);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        });
    let configure: &Configure<'_> = &configure;
    debian_stack::bootstrap(&Inputs {
        recipe,
        lock,
        architecture,
        mirrors,
        proxy: proxy.as_deref(),
        dirs,
        store: store.blobs(),
        compression: Compression::default(),
        now,
        configure,
        progress: &progress,
    })
}

/// Runs the packages' own scripts in a sandbox without network.
fn configure(request: &ConfigureRequest) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (lower, work) = (request.scratch.join("lower"), request.scratch.join("work"));
    for folder in [&lower, &work] {
        fs::create_dir_all(folder)?;
    }
    let (lower, upper) = match &request.target {
        // An overlay over nothing: every change lands in the root itself.
        Target::Root(root) => (vec![lower], root),
        Target::Overlay { lower, upper } => (lower.clone(), upper),
    };
    let root = Root {
        lower,
        writable: Writable::Dir {
            upper: upper.clone(),
            work,
        },
    };
    let mut sandbox = Sandbox::new(root, request.argv.clone());
    sandbox.uid = 0;
    sandbox.gid = 0;
    "slugc-stack".clone_into(&mut sandbox.hostname);
    sandbox.env.clone_from(&request.env);
    sandbox.network = Network::None;
    sandbox.filter = Filter::FakeOwnership;
    sandbox.stdin = Stream::Null;
    let (mut reader, writer) = std::io::pipe()?;
    sandbox.stdout = Stream::Fd(writer.try_clone()?.into());
    sandbox.stderr = Stream::Fd(writer.into());
    let mut child = sandbox::spawn(&sandbox)?;
    // The reader ends when the last writer is gone; this process must not be one.
    drop(sandbox);
    let mut said = Vec::new();
    reader.read_to_end(&mut said)?;
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let last = lines.len().saturating_sub(20);
    Err(format!(
        "dpkg ended with exit code {}\n{}",
        sandbox::exit_code(status),
        lines[last..].join("\n")
    )
    .into())
}

/// `--mirror` or `SLUGC_DEBIAN_MIRROR` (both arrive as `given`), else the one that apt uses here.
pub(crate) fn mirrors(given: Option<&str>) -> Result<Mirrors, Failure> {
    if let Some(base) = given {
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failure::new(
                Exit::Usage,
                format!("{base:?} cannot be a Debian mirror: it is not an http or https URL"),
            ));
        }
        return Ok(Mirrors::new(base));
    }
    debian_stack::mirrors::from_apt(Path::new("/etc/apt"))
        .or_fail(Exit::Input, || "cannot read apt's sources in /etc/apt".to_owned())?
        .ok_or_else(|| {
            Failure::new(
                Exit::Input,
                "cannot tell which Debian mirror to use: this machine's apt names none",
            )
            .hint("name one: --mirror URL, or SLUGC_DEBIAN_MIRROR=URL (a folder with dists/ and pool/)")
        })
}

fn bootstrap_failure(name: &str, error: debian_stack::Error) -> Failure {
    use debian_stack::Error;
    let (exit, hint) = match &error {
        error if is_full_disk(error) => {
            (Exit::Store, "free disk space, then run it again; packages that arrived are kept".to_owned())
        }
        Error::Fetch(_) | Error::PackageGone { .. } => (
            Exit::Network,
"check the network, or name another mirror: --mirror URL; packages that arrived are kept".to_owned(),
        ),
        Error::Release(_) | Error::Index { .. } => (
            Exit::Network,
            "what the mirror sent cannot be trusted; check this machine's clock, or name another mirror: --mirror URL"
                .to_owned(),
        ),
        Error::Configure { .. } | Error::Unfinished { .. } => {
            (Exit::Sandbox, "run it again with --verbose; the message above is dpkg's".to_owned())
        }
        Error::StaleLock { .. } | Error::Resolve(_) => {
            (Exit::General, format!("slugc stack create {name} --update takes today's packages"))
        }
        _ => (Exit::Store, "free disk space or mend the store's rights, then run it again".to_owned()),
    };
    Failure::new(exit, format!("cannot make the stack {name}"))
        .because(error)
        .hint(hint)
}

fn is_full_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind);
        if matches!(
            kind,
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn save(
    store: &Store,
    recipe: &Recipe,
    made: &debian_stack::Stack,
    identity: &str,
    architecture: &str,
) -> Result<Stack, Failure> {
    let name = &recipe.id;
    let (Some(build), Some(content)) = (&made.build, &recipe.build) else {
        return Err(Failure::new(
            Exit::General,
            format!("the recipe of {name} has no build layer"),
        ));
    };
    let saving = || format!("cannot save the images of the stack {name}");
    let run_image = image(&recipe.run, &[&made.run], made.lock.epoch, architecture);
    let build_image = image(content, &[&made.run, build], made.lock.epoch, architecture);
    let number = |name: &str| {
        content
            .env
            .get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(1000)
    };
    let stack = Stack {
        name: name.clone(),
        recipe: identity.to_owned(),
        summary: format!(
            "Debian 13, {} packages, run image {}, build layer {}",
            made.lock.packages.len(),
            size::bytes(made.run.blob.size),
            size::bytes(build.blob.size)
        ),
        run_image: run_image.save(store.blobs()).or_fail(Exit::Store, saving)?,
        build_image: build_image
            .save(store.blobs())
            .or_fail(Exit::Store, saving)?,
        run: made.run.blob.clone(),
        build: build.blob.clone(),
        uid: number("CNB_USER_ID"),
        gid: number("CNB_GROUP_ID"),
        env: content.env.clone().into_iter().collect(),
        lowers: vec![build.dir.clone(), made.run.dir.clone()],
    };
    made.lock
        .write(&Stack::lock_file(store, name))
        .or_fail(Exit::Store, saving)?;
    app::write_json(&store.stack(name).join("stack.json"), &stack)?;
    Ok(stack)
}

fn image(content: &Content, layers: &[&StackLayer], epoch: i64, architecture: &str) -> Image {
    let mut image = Image::empty("linux", architecture);
    let created = rfc3339(epoch);
    image.config.created = Some(created.clone());
    let config = &mut image.config.config;
    for (name, value) in &content.env {
        config.set_env(name, value);
    }
    config.labels.clone_from(&content.labels);
    config.user = content.user.clone().unwrap_or_default();
    config.working_dir = content.working_dir.clone().unwrap_or_default();
    for layer in layers {
        image.config.rootfs.diff_ids.push(layer.blob.diff_id);
        image.config.history.push(History {
            created: Some(created.clone()),
            created_by: Some("slugc stack create".to_owned()),
            ..History::default()
        });
        image.manifest.layers.push(layer.blob.descriptor());
    }
    image
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}
