//! The blobs of an image: several at once, each going on where an earlier pull left off.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use oci_image::{Descriptor, StoreError};

use super::{PullError, Pulled, Pulling};
use crate::Progress;
use crate::download::Download;

impl Pulling<'_> {
    /// Those of `wanted` that the store does not have.
    pub(super) fn blobs<'d>(
        &self,
        wanted: impl IntoIterator<Item = &'d Descriptor>,
        pulled: &mut Pulled,
    ) -> Result<(), PullError> {
        let mut missing = BTreeMap::new();
        for blob in wanted {
            let have = self
                .store
                .size(&blob.digest)
                .map_err(|source| PullError::Look {
                    digest: blob.digest,
                    source,
                })?;
            if have == Some(blob.size) {
                pulled.present += 1;
            } else {
                missing.insert(blob.digest, blob);
            }
        }
        let mut missing: Vec<_> = missing.into_values().collect();
        missing.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        (self.watch)(Progress::Total(missing.iter().map(|blob| blob.size).sum()));
        let threads = self.client.parallel().min(missing.len());
        pulled.received = missing.len();
        pulled.received_bytes = missing.iter().map(|blob| blob.size).sum();

        let waiting = Mutex::new(missing.into_iter());
        let first_error = Mutex::new(None);
        let next = || {
            waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next()
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !self.cancelled.load(Ordering::Relaxed)
                        && let Some(blob) = next()
                    {
                        if let Err(error) = self.blob(blob) {
                            let mut first =
                                first_error.lock().unwrap_or_else(PoisonError::into_inner);
                            self.cancelled.store(true, Ordering::Relaxed);
                            first.get_or_insert(error);
                        }
                    }
                });
            }
        });
        match first_error
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Brings one blob, going on from what an earlier pull left of it. What is left of this one, should it end early,
    /// is for the next.
    fn blob(&self, blob: &Descriptor) -> Result<(), PullError> {
        let partial = self
            .store
            .partial(&blob.digest, blob.size)
            .map_err(|source| self.store_error(source))?;
        let Some(mut partial) = partial else {
            // Another process is at it; whoever is first makes the blob.
            let mut download = self.download(blob, 0);
            let imported = self
                .store
                .import(&mut download, blob.digest, Some(blob.size));
            return match imported {
                Ok(_) => Ok(()),
                Err(error) => Err(self.failed(download, error)),
            };
        };
        loop {
            let start = partial.length();
            (self.watch)(Progress::Passed(start));
            let mut download = self.download(blob, start);
            let received = io::copy(&mut download, &mut partial);
            let ended = match received {
                Ok(_) => partial.finish(),
                Err(source) => Err(StoreError::Import {
                    digest: blob.digest,
                    source,
                }),
            };
            let Err(error) = ended else {
                return Ok(());
            };
            if !is_wrong(&error) {
                return Err(self.failed(download, error));
            }
            partial
                .restart()
                .map_err(|source| self.store_error(source))?;
            if start == 0 {
                return Err(self.failed(download, error));
            }
            // It may have been the beginning, which nobody had verified.
            (self.watch)(Progress::Repeated(blob.size));
        }
    }

    fn download<'a>(&'a self, blob: &'a Descriptor, position: u64) -> Download<'a> {
        Download::new(
            self.client,
            self.repository,
            blob,
            &self.scopes,
            &self.cancelled,
            self.watch,
            position,
        )
    }

    fn failed(&self, download: Download<'_>, error: StoreError) -> PullError {
        if let StoreError::Import { source, .. } = &error
            && is_wrong(&error)
        {
            return download.wrong_content(source.to_string()).into();
        }
        download
            .into_error()
            .map_or_else(|| self.store_error(error), PullError::Registry)
    }
}

/// Whether the content is not what the digest says.
fn is_wrong(error: &StoreError) -> bool {
    matches!(error, StoreError::Import { source, .. } if source.kind() == io::ErrorKind::InvalidData)
}
