//! From a recipe to a stack: lock, download, unpack, configure, write layers, as much of it at the
//! same time as the data allows.

use std::error::Error as StdError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use oci_image::{
    BlobStore, Compression, HardLinks, LayerBlob, LayerError, Overlay, Owners, Times, TreeRules,
};

use crate::configure::{self, Configure, Target};
use crate::dpkg::{self, DatabaseError};
use crate::fetch::{Client, FetchError};
use crate::finish::{self, FinishError};
use crate::lock::{Layer, Lock};
use crate::mirrors::Mirrors;
use crate::pipeline::{self, Arrivals};
use crate::recipe::Recipe;
use crate::release::ReleaseError;
use crate::resolve::ResolveError;
use crate::settle::{self, SettleError, Table};
use crate::suites;
use crate::unpack::{UnpackError, Unpacked};
use crate::workspace::{self, Workspace};

/// What a bootstrap needs.
pub struct Inputs<'a> {
    /// What to make.
    pub recipe: &'a Recipe,
    /// What to make it of; without one, the newest packages of the suites.
    pub lock: Option<&'a Lock>,
    /// Debian's name of the architecture: see [`architecture_of`].
    pub architecture: &'a str,
    /// Where packages come from.
    pub mirrors: &'a Mirrors,
    /// An HTTP proxy's address.
    pub proxy: Option<&'a str>,
    /// Where things are put.
    pub dirs: &'a Dirs,
    /// Where the layers' blobs are put.
    pub store: &'a BlobStore,
    /// How hard layers are compressed.
    pub compression: Compression,
    /// The time, in Unix seconds: Release files expire.
    pub now: i64,
    /// Runs programs in the new root.
    pub configure: &'a Configure<'a>,
    /// Told what happens, from several threads.
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// Folders a bootstrap uses; they are made if they don't exist.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Keeps packages, whole and in part, until the stack is done.
    pub downloads: PathBuf,
    /// Scratch, in the same file system as `roots`.
    pub work: PathBuf,
    /// Gets the finished roots, named by their layers' diffIDs.
    pub roots: PathBuf,
}

/// What happens during a bootstrap.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The suites' indexes are being read.
    Resolving,
    /// The packages are known.
    Resolved {
        /// How many.
        packages: usize,
        /// Bytes to download.
        bytes: u64,
    },
    /// Bytes have arrived.
    Received(u64),
    /// A package is unpacked.
    Unpacked {
        /// The package.
        package: &'a str,
    },
    /// The packages' scripts run.
    Configuring(Layer),
    /// A layer is being written.
    Writing(Layer),
}

/// A stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The run root.
    pub run: StackLayer,
    /// The layer over it for builds, if the recipe has one.
    pub build: Option<StackLayer>,
    /// Exactly what it was made of.
    pub lock: Lock,
}

/// A layer of a stack.
#[derive(Clone, Debug)]
pub struct StackLayer {
    /// The unpacked layer, `roots/<diffID>`; the build layer's is an overlay's upper directory.
    pub dir: PathBuf,
    /// The layer in the store.
    pub blob: LayerBlob,
}

/// Why a stack could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The lock is of another recipe, or the recipe has changed since.
    #[error("the lock of the stack {stack} doesn't fit its recipe any more; make a new one")]
    StaleLock {
        /// The recipe's id.
        stack: String,
    },
    /// The mirror has no such package any more: time for a new lock.
    #[error("the mirror doesn't have the locked package {package} {version} any more")]
    PackageGone {
        /// Its name.
        package: String,
        /// Its version.
        version: String,
        /// What the mirror said.
        #[source]
        source: FetchError,
    },
    /// A download failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A Release file was refused.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A package index is damaged.
    #[error("cannot read the package index {path}")]
    Index {
        /// The downloaded file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// The recipe's packages don't go together.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A package could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Packages contradict each other.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// dpkg's database could not be written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The packages' scripts failed.
    #[error("cannot configure the packages of the {} layer", .layer.name())]
    Configure {
        /// The layer.
        layer: Layer,
        /// What the run said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The scripts succeeded, but dpkg is not content.
    #[error("packages were left unconfigured in the {} layer: {}", .layer.name(), .packages.join(", "))]
    Unfinished {
        /// The layer.
        layer: Layer,
        /// The packages and their states.
        packages: Vec<String>,
    },
    /// The last touches failed.
    #[error(transparent)]
    Finish(#[from] FinishError),
    /// A layer could not be written.
    #[error("cannot write the stack's {} layer", .layer.name())]
    Layer {
        /// The layer.
        layer: Layer,
        /// The reason.
        #[source]
        source: LayerError,
    },
    /// A folder could not be made, moved or removed.
    #[error("cannot prepare {path}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Debian's name of an architecture that [`std::env::consts::ARCH`] names.
pub fn architecture_of(rust: &str) -> Option<&'static str> {
    match rust {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        "riscv64" => Some("riscv64"),
        "powerpc64" => Some("ppc64el"),
        "s390x" => Some("s390x"),
        _ => None,
    }
}

/// Makes a stack, or says what is in the way. On failure nothing is left but downloads, which the
/// next try takes up.
///
/// With a lock that fits, no index is read. The suites' Release files are fetched and verified
/// nevertheless, so that an expired or forged one is noticed; only their signatures and dates
/// count then.
pub fn bootstrap(inputs: &Inputs<'_>) -> Result<Stack, Error> {
    for path in [
        &inputs.dirs.downloads,
        &inputs.dirs.work,
        &inputs.dirs.roots,
    ] {
        fs::create_dir_all(path).map_err(folder_error(path))?;
    }
    let cancelled = AtomicBool::new(false);
    let client = Client::new(inputs.proxy, &cancelled)?;
    let Some(lock) = inputs.lock else {
        (inputs.progress)(Progress::Resolving);
        let lock = suites::lock(
            &client,
            inputs.recipe,
            inputs.mirrors,
            inputs.architecture,
            &inputs.dirs.downloads,
            inputs.now,
        )?;
        let draft = assemble(inputs, &client, &lock, &cancelled)?;
        return publish(inputs, &lock, draft);
    };
    if !lock.fits(inputs.recipe, inputs.architecture) {
        return Err(Error::StaleLock {
            stack: inputs.recipe.id.clone(),
        });
    }
    std::thread::scope(|scope| {
        let checked = scope.spawn(|| {
            let result = suites::releases(&client, inputs.recipe, inputs.mirrors, inputs.now);
            if result.is_err() {
                cancelled.store(true, Ordering::Relaxed);
            }
            result
        });
        let draft = assemble(inputs, &client, lock, &cancelled);
        if draft.is_err() {
            cancelled.store(true, Ordering::Relaxed);
        }
        let checked = checked
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (draft, checked) {
            // Whoever failed first made the other stop; the one that was stopped has nothing to say.
            (Err(error), Err(Error::Fetch(FetchError::Cancelled)) | Ok(_)) | (_, Err(error)) => {
                Err(error)
            }
            (Ok(draft), Ok(_)) => publish(inputs, lock, draft),
        }
    })
}

/// A stack that nobody else can see yet.
struct Draft {
    /// Holds the roots; removed with all that is left in it.
    _work: Workspace,
    run: (PathBuf, LayerBlob),
    build: Option<(PathBuf, LayerBlob)>,
}

/// A configured root and who owns what in it.
struct Configured {
    dir: PathBuf,
    owners: Owners,
}

fn assemble(
    inputs: &Inputs<'_>,
    client: &Client<'_>,
    lock: &Lock,
    cancelled: &AtomicBool,
) -> Result<Draft, Error> {
    let bytes = lock.packages.iter().map(|package| package.size).sum();
    (inputs.progress)(Progress::Resolved {
        packages: lock.packages.len(),
        bytes,
    });
    let work = Workspace::new(&inputs.dirs.work).map_err(folder_error(&inputs.dirs.work))?;
    let run_dir = new_folder(&work.path().join("run"))?;
    let build_dir = new_folder(&work.path().join("build"))?;
    let (run, build) = pipeline::run(
        inputs,
        client,
        lock,
        cancelled,
        (&run_dir, &build_dir),
        |arrivals| {
            let mut table = Table::new();
            let mut run_packages = arrivals.take(Layer::Run)?;
            for package in &mut run_packages {
                package.drop_scripts(&inputs.recipe.without_scripts);
            }
            let run = configure_run(inputs, lock, run_dir.clone(), &run_packages, &mut table)?;
            let (run_blob, build) = std::thread::scope(|scope| {
                let run_blob = scope.spawn(|| write_layer(inputs, lock, Layer::Run, &run));
                let build = build_layer(inputs, lock, arrivals, &run.dir, &build_dir, &mut table);
                let run_blob = run_blob
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                (run_blob, build)
            });
            Ok(((run.dir, run_blob?), build?))
        },
    )?;
    Ok(Draft {
        _work: work,
        run,
        build,
    })
}

fn configure_run(
    inputs: &Inputs<'_>,
    lock: &Lock,
    dir: PathBuf,
    packages: &[Unpacked],
    table: &mut Table,
) -> Result<Configured, Error> {
    let packages: Vec<_> = packages.iter().collect();
    settle::settle(table, &dir, None, &packages)?;
    dpkg::write(&dir, None, inputs.architecture, &packages)?;
    configure(
        inputs,
        Layer::Run,
        Target::Root(dir.clone()),
        &dir,
        &packages,
    )?;
    finish::tidy(&dir, None, inputs.recipe)?;
    finish::add_extras(&dir, inputs.recipe, lock.epoch)?;
    finish::settle_modes(&dir, inputs.recipe)?;
    finish::settle_times(&dir, lock.epoch)?;
    let owners = finish::owners(&dir, &[&dir], table, inputs.recipe)?;
    Ok(Configured { dir, owners })
}

fn build_layer(
    inputs: &Inputs<'_>,
    lock: &Lock,
    arrivals: &mut Arrivals,
    run: &Path,
    dir: &Path,
    table: &mut Table,
) -> Result<Option<(PathBuf, LayerBlob)>, Error> {
    if inputs.recipe.build.is_none() {
        return Ok(None);
    }
    let packages = arrivals.take(Layer::Build)?;
    let packages: Vec<_> = packages.iter().collect();
    settle::settle(table, dir, Some(run), &packages)?;
    dpkg::write(dir, Some(run), inputs.architecture, &packages)?;
    let target = Target::Overlay {
        lower: vec![run.to_owned()],
        upper: dir.to_owned(),
    };
    configure(inputs, Layer::Build, target, dir, &packages)?;
    finish::tidy(dir, Some(run), inputs.recipe)?;
    finish::settle_times(dir, lock.epoch)?;
    let owners = finish::owners(dir, &[dir, run], table, inputs.recipe)?;
    let root = Configured {
        dir: dir.to_owned(),
        owners,
    };
    let blob = write_layer(inputs, lock, Layer::Build, &root)?;
    Ok(Some((root.dir, blob)))
}

fn configure(
    inputs: &Inputs<'_>,
    layer: Layer,
    target: Target,
    dir: &Path,
    packages: &[&Unpacked],
) -> Result<(), Error> {
    (inputs.progress)(Progress::Configuring(layer));
    let scratch = dir.with_extension("scratch");
    new_folder(&scratch)?;
    let request = configure::request(target, packages, &scratch);
    (inputs.configure)(&request).map_err(|source| Error::Configure { layer, source })?;
    workspace::remove_tree(&scratch).map_err(folder_error(&scratch))?;
    let status = dir.join(dpkg::FOLDER).join("status");
    let text = fs::read_to_string(&status).map_err(folder_error(&status))?;
    let packages = dpkg::unfinished(&text);
    if packages.is_empty() {
        Ok(())
    } else {
        Err(Error::Unfinished { layer, packages })
    }
}

fn write_layer(
    inputs: &Inputs<'_>,
    lock: &Lock,
    layer: Layer,
    root: &Configured,
) -> Result<LayerBlob, Error> {
    (inputs.progress)(Progress::Writing(layer));
    let rules = TreeRules {
        owners: root.owners.clone(),
        times: Times::Keep { clamp: lock.epoch },
        hard_links: HardLinks::Preserve,
        overlay: Overlay::Translate,
        ..TreeRules::default()
    };
    oci_image::write_layer(inputs.store, inputs.compression, |tar| {
        tar.tree(&root.dir, "", &rules)
    })
    .map_err(|source| Error::Layer { layer, source })
}

/// Moves the finished roots to their places and forgets the downloads.
fn publish(inputs: &Inputs<'_>, lock: &Lock, draft: Draft) -> Result<Stack, Error> {
    let place = |(from, blob): (PathBuf, LayerBlob)| {
        let dir = inputs.dirs.roots.join(blob.diff_id.hex());
        match fs::rename(&from, &dir) {
            Ok(()) => {}
            // What is there already has the same name because it is the same.
            Err(_) if dir.is_dir() => {}
            Err(source) => return Err(Error::Folder { path: dir, source }),
        }
        Ok(StackLayer { dir, blob })
    };
    // dpkg was told not to care about the disk; a root must not survive a power failure with holes.
    let roots = fs::File::open(&inputs.dirs.roots).map_err(folder_error(&inputs.dirs.roots))?;
    rustix::fs::syncfs(&roots).map_err(|error| folder_error(&inputs.dirs.roots)(error.into()))?;
    let run = place(draft.run)?;
    let build = draft.build.map(place).transpose()?;
    for package in &lock.packages {
        let path = inputs.dirs.downloads.join(package.digest.hex());
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Folder { path, source }),
        }
    }
    Ok(Stack {
        run,
        build,
        lock: lock.clone(),
    })
}

fn new_folder(path: &Path) -> Result<PathBuf, Error> {
    fs::create_dir(path).map_err(folder_error(path))?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(folder_error(path))?;
    Ok(path.to_owned())
}

fn folder_error(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Folder {
        path: path.clone(),
        source,
    }
}
