//! Counts what is read: inotify tells which files' content somebody touched.

use crate::context::must;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Watches every folder of some trees for reads of regular files.
#[derive(Debug)]
pub struct ContentWatch {
    ended: Arc<AtomicBool>,
    listener: JoinHandle<BTreeSet<PathBuf>>,
}

impl ContentWatch {
    /// Starts watching the trees as they are now.
    pub fn over(trees: &[&Path]) -> Self {
        let queue = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(queue) => queue,
            Err(error) => panic!("cannot watch for reads: {error}"),
        };
        // Listed first and watched then: listing a watched folder would fill the queue.
        let mut listed = Vec::new();
        for tree in trees {
            list(tree, &mut listed);
        }
        let flags = WatchFlags::ACCESS | WatchFlags::DONT_FOLLOW;
        let folders: HashMap<i32, PathBuf> = listed
            .into_iter()
            .map(|folder| match inotify::add_watch(&queue, &folder, flags) {
                Ok(id) => (id, folder),
                Err(error) => panic!("cannot watch {}: {error}", folder.display()),
            })
            .collect();
        let ended = Arc::new(AtomicBool::new(false));
        let asked_to_end = Arc::clone(&ended);
        // The kernel's queue is short, and whoever lists folders fills it, too.
        let listener = std::thread::spawn(move || {
            let mut files = BTreeSet::new();
            loop {
                // Asked before the queue is emptied: what was read before the end is in it.
                let last = asked_to_end.load(Ordering::Acquire);
                drain(&queue, &folders, &mut files);
                if last {
                    return files;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { ended, listener }
    }

    /// The files that were read since the watch began.
    ///
    /// # Panics
    /// When so much was read that the kernel stopped counting.
    pub fn files_read(self) -> BTreeSet<PathBuf> {
        self.ended.store(true, Ordering::Release);
        match self.listener.join() {
            Ok(files) => files,
            Err(reason) => std::panic::resume_unwind(reason),
        }
    }
}

/// Every folder of a tree.
fn list(folder: &Path, folders: &mut Vec<PathBuf>) {
    folders.push(folder.to_owned());
    for entry in must(fs::read_dir(folder), "list", folder) {
        let entry = must(entry, "list", folder);
        if must(entry.file_type(), "look at", &entry.path()).is_dir() {
            list(&entry.path(), folders);
        }
    }
}

/// Takes everything that waits in the queue.
fn drain(queue: &OwnedFd, folders: &HashMap<i32, PathBuf>, files: &mut BTreeSet<PathBuf>) {
    let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
    let mut reader = inotify::Reader::new(queue, &mut buffer);
    loop {
        match reader.next() {
            Ok(event) => {
                let flags = event.events();
                assert!(
                    !flags.contains(ReadFlags::QUEUE_OVERFLOW),
                    "too many reads to count"
                );
                // Listing a folder is no reading of content.
                if flags.contains(ReadFlags::ISDIR) {
                    continue;
                }
                if let (Some(folder), Some(name)) = (folders.get(&event.wd()), event.file_name()) {
                    files.insert(folder.join(name.to_string_lossy().as_ref()));
                }
            }
            Err(rustix::io::Errno::AGAIN) => return,
            Err(error) => panic!("cannot tell what was read: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_is_seen_and_a_stat_is_not() -> std::io::Result<()> {
        let tree = tempfile::tempdir()?;
        fs::create_dir(tree.path().join("deep"))?;
        for file in ["deep/read", "deep/looked-at", "listed"] {
            fs::write(tree.path().join(file), "content")?;
        }
        let watch = ContentWatch::over(&[tree.path()]);
        fs::metadata(tree.path().join("deep/looked-at"))?;
        assert_eq!(fs::read_dir(tree.path())?.count(), 2);
        fs::read(tree.path().join("deep/read"))?;
        let read: Vec<PathBuf> = watch.files_read().into_iter().collect();
        assert_eq!(read, [tree.path().join("deep/read")]);
        Ok(())
    }
}
