//! Downloads on one set of threads, unpacking on another, the caller's work beside them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::bootstrap::{Error, Inputs, Progress};
use crate::fetch::{Client, FetchError};
use crate::lock::{Layer, Lock, LockedPackage};
use crate::suites;
use crate::unpack::{Root, Unpacked};

const DOWNLOADS: usize = 8;

/// Packages as they get unpacked.
pub(crate) struct Arrivals {
    receiver: Receiver<(usize, Result<Unpacked, Error>)>,
    arrived: BTreeMap<usize, Unpacked>,
    layers: Vec<Layer>,
}

impl Arrivals {
    /// Waits for all packages of a layer and returns them in the lock's order.
    pub(crate) fn take(&mut self, layer: Layer) -> Result<Vec<Unpacked>, Error> {
        let wanted = |index: &usize| self.layers[*index] == layer;
        let count = self.layers.iter().filter(|other| **other == layer).count();
        while self.arrived.keys().filter(|index| wanted(index)).count() < count {
            let Ok((index, unpacked)) = self.receiver.recv() else {
                return Err(FetchError::Cancelled.into());
            };
            self.arrived.insert(index, unpacked?);
        }
        let (mine, others) = std::mem::take(&mut self.arrived)
            .into_iter()
            .partition(|(index, _)| wanted(index));
        self.arrived = others;
        let mine: BTreeMap<_, _> = mine;
        Ok(mine.into_values().collect())
    }
}

/// What is downloaded and waits to be unpacked: the run layer before the build layer, and the largest
/// first, so that no thread is left alone with a large one at the end.
struct Ready {
    queue: Mutex<Queue>,
    bell: Condvar,
}

struct Queue {
    waiting: BTreeMap<(Layer, Reverse<u64>, usize), PathBuf>,
    downloading: usize,
}

/// Downloads and unpacks a lock's packages into a root per layer, while `consume` uses them.
pub(crate) fn run<T>(
    inputs: &Inputs<'_>,
    client: &Client<'_>,
    lock: &Lock,
    cancelled: &AtomicBool,
    (run, build): (&Path, &Path),
    consume: impl FnOnce(&mut Arrivals) -> Result<T, Error>,
) -> Result<T, Error> {
    let open = |path: &Path, fresh| {
        Root::open(path, &inputs.recipe.paths, fresh).map_err(|source| Error::Folder {
            path: path.to_owned(),
            source,
        })
    };
    let roots = Roots {
        run: open(run, true)?,
        build: open(build, false)?,
    };
    let mut order: Vec<usize> = (0..lock.packages.len()).collect();
    order.sort_by_key(|index| priority(lock, *index));
    let ready = Ready {
        queue: Mutex::new(Queue {
            waiting: BTreeMap::new(),
            downloading: order.len(),
        }),
        bell: Condvar::new(),
    };
    let next = AtomicUsize::new(0);
    let (sender, receiver) = channel();
    let workers = std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .max(2);
    std::thread::scope(|scope| {
        for _ in 0..DOWNLOADS.min(order.len()) {
            let (order, next, ready, sender) = (&order, &next, &ready, sender.clone());
            scope.spawn(move || {
                while let Some(index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = download(inputs, client, &lock.packages[*index]);
                    ready.downloaded(lock, *index, result, &sender, cancelled);
                }
            });
        }
        for _ in 0..workers {
            let (ready, roots, sender) = (&ready, &roots, sender.clone());
            scope.spawn(move || {
                while let Some((index, path)) = ready.next(cancelled) {
                    let package = &lock.packages[index];
                    let result = roots
                        .of(package.layer)
                        .unpack(&path, &package.name)
                        .map_err(Error::from);
                    if result.is_ok() {
                        (inputs.progress)(Progress::Unpacked {
                            package: &package.name,
                        });
                    }
                    // Nobody listens any more when the caller has failed.
                    if sender.send((index, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let layers = lock.packages.iter().map(|package| package.layer).collect();
        let result = consume(&mut Arrivals {
            receiver,
            arrived: BTreeMap::new(),
            layers,
        });
        if result.is_err() {
            cancelled.store(true, Ordering::Relaxed);
            ready.bell.notify_all();
        }
        result
    })
}

struct Roots {
    run: Root,
    build: Root,
}

impl Roots {
    fn of(&self, layer: Layer) -> &Root {
        match layer {
            Layer::Run => &self.run,
            Layer::Build => &self.build,
        }
    }
}

impl Ready {
    fn downloaded(
        &self,
        lock: &Lock,
        index: usize,
        result: Result<PathBuf, Error>,
        sender: &Sender<(usize, Result<Unpacked, Error>)>,
        cancelled: &AtomicBool,
    ) {
        match result {
            Ok(path) => {
                let mut queue = self.queue();
                queue.downloading -= 1;
                queue.waiting.insert(priority(lock, index), path);
            }
            Err(error) => {
                // The first one is the cause; a closed channel means that there was one already.
                let _ = sender.send((index, Err(error)));
                cancelled.store(true, Ordering::Relaxed);
                self.queue().downloading -= 1;
            }
        }
        self.bell.notify_all();
    }

    fn next(&self, cancelled: &AtomicBool) -> Option<(usize, PathBuf)> {
        let mut queue = self.queue();
        loop {
            if cancelled.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(((_, _, index), path)) = queue.waiting.pop_first() {
                return Some((index, path));
            }
            if queue.downloading == 0 {
                return None;
            }
            queue = self
                .bell
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn priority(lock: &Lock, index: usize) -> (Layer, Reverse<u64>, usize) {
    let package = &lock.packages[index];
    (package.layer, Reverse(package.size), index)
}

fn download(
    inputs: &Inputs<'_>,
    client: &Client<'_>,
    package: &LockedPackage,
) -> Result<PathBuf, Error> {
    let suite = inputs
        .recipe
        .suites
        .iter()
        .find(|suite| suite.name == package.suite);
    let base = suite.map_or(&*inputs.mirrors.base, |suite| {
        suites::base(inputs.mirrors, suite)
    });
    let url = format!("{base}/{}", package.filename);
    let received = |bytes| (inputs.progress)(Progress::Received(bytes));
    client
        .file(
            &url,
            package.digest,
            package.size,
            &inputs.dirs.downloads,
            &received,
        )
        .map_err(|error| match error {
            source @ FetchError::Missing { .. } => Error::PackageGone {
                package: package.name.clone(),
                version: package.version.clone(),
                source,
            },
            error => error.into(),
        })
}
