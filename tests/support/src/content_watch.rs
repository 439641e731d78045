//! Counts what is read: inotify tells which files' content somebody touched.

use crate::context::must;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Watches every folder of some trees for reads of regular files.
#[derive(Debug)]
pub struct ContentWatch {
    queue: OwnedFd,
    folders: HashMap<i32, PathBuf>,
}

impl ContentWatch {
    /// Starts watching the trees as they are now.
    pub fn over(trees: &[&Path]) -> Self {
        let queue = match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(queue) => queue,
            Err(error) => panic!("cannot watch for reads: {error}"),
        };
        let mut watch = Self {
            queue,
            folders: HashMap::new(),
        };
        for tree in trees {
            watch.add(tree);
        }
        assert!(!watch.folders.is_empty(), "nothing to watch in {trees:?}");
        watch
    }

    fn add(&mut self, folder: &Path) {
        let id = match inotify::add_watch(
            &self.queue,
            folder,
            WatchFlags::ACCESS | WatchFlags::DONT_FOLLOW,
        ) {
            Ok(id) => id,
            Err(error) => panic!("cannot watch {}: {error}", folder.display()),
        };
        self.folders.insert(id, folder.to_owned());
        for entry in must(fs::read_dir(folder), "list", folder) {
            let entry = must(entry, "list", folder);
            if must(entry.file_type(), "look at", &entry.path()).is_dir() {
                self.add(&entry.path());
            }
        }
    }

    /// The files that were read since the watch began.
    ///
    /// # Panics
    /// When so much was read that the kernel stopped counting.
    pub fn files_read(self) -> BTreeSet<PathBuf> {
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        let mut files = BTreeSet::new();
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
                    if let (Some(folder), Some(name)) =
                        (self.folders.get(&event.wd()), event.file_name())
                    {
                        files.insert(folder.join(name.to_string_lossy().as_ref()));
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return files,
                Err(error) => panic!("cannot tell what was read: {error}"),
            }
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
