//! Appending to the log, from any number of processes at once.

use super::LogError;
use super::line::{Header, SAME, Source, text_start};
use super::lines::each_line;
use super::segments::{self, OPEN, SEALED};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much of a log is kept. In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// All segments together; never more than this, but for a single segment.
    pub total: u64,
    /// One segment: what is dropped at once when the log is full.
    pub segment: u64,
}

impl Default for LogBounds {
    /// 8 MiB in segments of 1 MiB. Heroku keeps 1500 lines.
    fn default() -> Self {
        Self {
            total: 8 << 20,
            segment: 1 << 20,
        }
    }
}

/// Collects lines and writes them in batches: one write per batch, nothing waits for the disk.
///
/// Lines of several writers come in the order of their batches. What was not flushed when the
/// process is killed is lost; a writer that is dropped flushes.
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    bounds: LogBounds,
    open: Option<Open>,
    header: Header,
    batch: Vec<u8>,
    lost: Option<Lost>,
}

/// Lines that could not be written since the last ones that could.
#[derive(Debug, Clone, Copy)]
struct Lost {
    lines: usize,
    since: Timestamp,
}

#[derive(Debug)]
struct Open {
    lock: File,
    segment: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    file: File,
    number: u64,
    /// Where the last write of ours ended. Who else wrote since may have been killed over it.
    end: Option<u64>,
}

impl LogWriter {
    /// Opens the log in `folder`, making it (0700) where it is missing.
    pub fn open(folder: &Path, bounds: LogBounds) -> Result<Self, LogError> {
        Ok(Self {
            open: Some(Open::at(folder)?),
            folder: folder.to_owned(),
            bounds,
            header: Header::default(),
            batch: Vec::new(),
            lost: None,
        })
    }

    /// Adds lines to the batch: usually one, more if there are newlines in `text` or if it is longer
    /// than 10,000 bytes. `dyno` is `web.1`, `router`, `api`: no `]` and no newline.
    pub fn append(&mut self, source: Source, dyno: &str, at: Timestamp, text: &[u8]) {
        each_line(text, |line| self.line(source, dyno, at, line));
    }

    /// Adds a line that has no newline in it and is no longer than 10,000 bytes.
    pub(crate) fn line(&mut self, source: Source, dyno: &str, at: Timestamp, line: &[u8]) {
        if self.batch.is_empty() || !self.header.is_of(at, source, dyno) {
            self.batch
                .extend_from_slice(self.header.of(at, source, dyno));
        }
        self.batch.push(SAME);
        self.batch.extend_from_slice(line);
        self.batch.push(b'\n');
    }

    /// Writes the batch. What could not be written is forgotten, so that a full disk needs no
    /// memory; the log tells of the gap (Heroku's L10) as soon as there is room again.
    pub fn flush(&mut self) -> Result<(), LogError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        let mut written = 0;
        let result = self.tell_of_lost().and_then(|()| {
            self.lost = None;
            self.write(&batch, &mut written)
        });
        if result.is_err() {
            let lost = self.lost.get_or_insert_with(|| Lost {
                lines: 0,
                since: Timestamp::now(),
            });
            lost.lines += memchr::memchr_iter(b'\n', &batch[written..]).count();
        }
        batch.clear();
        self.batch = batch;
        result
    }

    fn tell_of_lost(&mut self) -> Result<(), LogError> {
        let Some(Lost { lines, since }) = self.lost else {
            return Ok(());
        };
        let mut notice = self
            .header
            .of(Timestamp::now(), Source::Heroku, "logplex")
            .to_vec();
        let since = since.strftime("%Y-%m-%dT%H:%M:%S+00:00");
        let text = format!(
            " Error L10 (output buffer overflow) -> {lines} messages dropped since {since}.\n"
        );
        notice.extend_from_slice(text.as_bytes());
        self.write(&notice, &mut 0)
    }

    /// Writes whole lines, and counts in `written` the bytes that arrived.
    fn write(&mut self, lines: &[u8], written: &mut usize) -> Result<(), LogError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.folder)?,
        };
        open.take_lock(&self.folder)?;
        // After an error nothing is known of the segment: it is opened anew. Dropping unlocks too.
        while *written < lines.len() {
            open.write_some(&self.folder, self.bounds, lines, written)?;
        }
        let unlocked = open.unlock(&self.folder);
        self.open = Some(open);
        unlocked
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // Nobody is left to be told.
        drop(self.flush());
    }
}

impl Open {
    fn at(folder: &Path) -> Result<Self, LogError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| LogError::Folder {
            path: folder.to_owned(),
            source,
        })?;
        let path = lock_path(folder);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(OPEN)
            .open(&path);
        Ok(Self {
            lock: lock.map_err(|source| LogError::Lock { path, source })?,
            segment: None,
        })
    }

    /// Waits for other writers, each of which takes one batch's time.
    fn take_lock(&mut self, folder: &Path) -> Result<(), LogError> {
        let failed = |source| LogError::Lock {
            path: lock_path(folder),
            source,
        };
        loop {
            set_lock(&self.lock, FlockOperation::LockExclusive).map_err(failed)?;
            if self.lock.metadata().map_err(failed)?.nlink() > 0 {
                return Ok(());
            }
            // The folder was removed, perhaps made again: there may be another lock by now.
            *self = Self::at(folder)?;
        }
    }

    fn unlock(&self, folder: &Path) -> Result<(), LogError> {
        set_lock(&self.lock, FlockOperation::Unlock).map_err(|source| LogError::Lock {
            path: lock_path(folder),
            source,
        })
    }

    /// Writes as many of the batch's lines that are not `written` yet as the open segment takes; none
    /// if it was full. Every segment can be read by itself: it begins with a line that says whose it is.
    fn write_some(
        &mut self,
        folder: &Path,
        bounds: LogBounds,
        batch: &[u8],
        written: &mut usize,
    ) -> Result<(), LogError> {
        let (before, lines) = batch.split_at(*written);
        let owed = match lines.first() {
            Some(&SAME) => last_header(before),
            _ => &[],
        };
        let (mut segment, size) = match self.segment.take() {
            Some(segment) => match segment.is_open(folder)? {
                Some(size) => (segment, size),
                None => newest(folder, bounds)?,
            },
            None => newest(folder, bounds)?,
        };
        let failed = |source| LogError::Write {
            path: segments::path(folder, segment.number),
            source,
        };
        let room = bounds.segment.saturating_sub(size + owed.len() as u64);
        let Some(fitting) = fitting(lines, room, size == 0) else {
            let seal = Permissions::from_mode(SEALED);
            segment.file.set_permissions(seal).map_err(failed)?;
            self.segment = Some(begin(folder, segment.number + 1, bounds)?.0);
            return Ok(());
        };
        let mut end = size;
        if size > 0 && segment.end != Some(size) && is_torn(&segment.file, size).map_err(failed)? {
            segment.file.write_all(b"\n").map_err(failed)?;
            end += 1;
        }
        let together;
        let mut rest = fitting;
        if !owed.is_empty() {
            together = [owed, fitting].concat();
            rest = &together;
        }
        while !rest.is_empty() {
            match segment.file.write(rest) {
                Ok(0) => return Err(failed(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    rest = &rest[count..];
                    *written = before.len() + fitting.len().saturating_sub(rest.len());
                    end += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        segment.end = Some(end);
        self.segment = Some(segment);
        Ok(())
    }
}

impl Segment {
    /// The size, if it is still the one to write to.
    fn is_open(&self, folder: &Path) -> Result<Option<u64>, LogError> {
        let there = self.file.metadata().map_err(|source| LogError::Write {
            path: segments::path(folder, self.number),
            source,
        })?;
        Ok((!is_sealed(&there) && there.nlink() > 0).then_some(there.len()))
    }
}

fn lock_path(folder: &Path) -> PathBuf {
    folder.join("lock")
}

fn set_lock(lock: &File, operation: FlockOperation) -> io::Result<()> {
    loop {
        match flock(lock, operation) {
            Err(Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

fn is_sealed(metadata: &Metadata) -> bool {
    metadata.mode() & 0o200 == 0
}

fn is_torn(file: &File, size: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1)?;
    Ok(last != *b"\n")
}

/// The lines that a segment with so many bytes of room still takes, at least one if it is empty.
fn fitting(lines: &[u8], room: u64, is_empty: bool) -> Option<&[u8]> {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if lines.len() <= room {
        return Some(lines);
    }
    let end = match memchr::memrchr(b'\n', &lines[..room]) {
        None if is_empty => memchr::memchr(b'\n', lines),
        found => found,
    };
    end.map(|end| &lines[..=end])
}

/// What the last of these lines that says whose it is has before its text.
fn last_header(lines: &[u8]) -> &[u8] {
    let mut end = lines.len().saturating_sub(1);
    loop {
        let start = memchr::memrchr(b'\n', &lines[..end]).map_or(0, |newline| newline + 1);
        let line = &lines[start..end];
        if line.first() != Some(&SAME) || start == 0 {
            // The blank before the text comes with the text.
            return text_start(line).map_or(&[], |text| &line[..text - 1]);
        }
        end = start - 1;
    }
}

/// The segment to write to, and its size. Only for who holds the lock.
fn newest(folder: &Path, bounds: LogBounds) -> Result<(Segment, u64), LogError> {
    let Some(number) = segments::list(folder)?.pop() else {
        return begin(folder, 1, bounds);
    };
    match fs::metadata(segments::path(folder, number)) {
        Ok(metadata) if is_sealed(&metadata) => begin(folder, number + 1, bounds),
        _ => begin(folder, number, bounds),
    }
}

/// Opens a segment, making it if it is not there, and drops those that are too many.
fn begin(folder: &Path, number: u64, bounds: LogBounds) -> Result<(Segment, u64), LogError> {
    let path = segments::path(folder, number);
    let open = || -> io::Result<(File, u64)> {
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(OPEN)
            .open(&path)?;
        let metadata = file.metadata()?;
        if is_sealed(&metadata) {
            // By an odd umask: a new segment that looks sealed would be given up at once.
            file.set_permissions(Permissions::from_mode(OPEN))?;
        }
        Ok((file, metadata.len()))
    };
    let (file, size) = open().map_err(|source| LogError::Begin {
        path: path.clone(),
        source,
    })?;
    let numbers = segments::list(folder)?;
    let kept = usize::try_from(bounds.total / bounds.segment.max(1)).unwrap_or(usize::MAX);
    for number in &numbers[..numbers.len().saturating_sub(kept.max(1))] {
        let path = segments::path(folder, *number);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(LogError::Drop { path, source }),
        }
    }
    let segment = Segment {
        file,
        number,
        end: None,
    };
    Ok((segment, size))
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
