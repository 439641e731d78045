//! A blob's bytes on their way from the store.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use oci_image::{Descriptor, StoreError, VerifyingReader};

use super::Uploads;
use crate::transport::exchange::Content;
use crate::{Progress, Watch};

/// A blob of the store, as often as it has to be sent.
pub(super) struct BlobContent<'a> {
    pub(super) uploads: &'a Uploads<'a>,
    pub(super) blob: &'a Descriptor,
    /// Bytes handed out.
    pub(super) passed: &'a Cell<u64>,
    /// What went wrong with the store.
    pub(super) trouble: &'a RefCell<Option<StoreError>>,
}

impl Content for BlobContent<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        let Uploads {
            store,
            cancelled,
            watch,
            ..
        } = *self.uploads;
        if self.passed.get() > 0 {
            watch(Progress::Repeated(self.passed.replace(0)));
        }
        let file = store.open_blob(&self.blob.digest).map_err(|error| {
            *self.trouble.borrow_mut() = Some(error);
            io::Error::other("the blob could not be opened")
        })?;
        Ok(Box::new(BlobBody {
            content: VerifyingReader::new(file, self.blob.digest, Some(self.blob.size)),
            path: store.path(&self.blob.digest),
            size: self.blob.size,
            passed: self.passed,
            trouble: self.trouble,
            cancelled,
            watch,
        }))
    }
}

/// A blob's content on its way out. The last bytes are only handed out once the whole has the right digest, so that
/// a damaged blob never becomes a complete upload.
struct BlobBody<'a> {
    content: VerifyingReader<File>,
    path: std::path::PathBuf,
    size: u64,
    passed: &'a Cell<u64>,
    trouble: &'a RefCell<Option<StoreError>>,
    cancelled: &'a AtomicBool,
    watch: Watch<'a>,
}

impl Read for BlobBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let result = self.content.read(buffer).and_then(|count| {
            if count > 0 && self.passed.get() + count as u64 == self.size {
                self.content.read(&mut [0])?;
            }
            Ok(count)
        });
        match result {
            Ok(count) => {
                self.passed.set(self.passed.get() + count as u64);
                (self.watch)(Progress::Passed(count as u64));
                Ok(count)
            }
            Err(source) => {
                let path = self.path.clone();
                let kind = source.kind();
                *self.trouble.borrow_mut() = Some(match kind {
                    io::ErrorKind::InvalidData => StoreError::Damaged { path, source },
                    _ => StoreError::Read { path, source },
                });
                Err(io::Error::new(kind, "the blob could not be read"))
            }
        }
    }
}
