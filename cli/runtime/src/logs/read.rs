//! Querying the log, from its end.

use super::LogError;
use super::follow::Follow;
use super::line::{LogLine, Parts, Source, text_of_same};
use super::segments;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read at a time.
const BLOCK: usize = 64 * 1024;

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// At most so many, the newest ones.
    pub last: usize,
    pub source: Option<Source>,
    /// `web.1`
    pub dyno: Option<String>,
    /// `web`: all dynos of the type. Names without a number, as `router`, are types too.
    pub process_type: Option<String>,
}

impl Default for Filter {
    /// The last 100 lines of everything, as `heroku logs`.
    fn default() -> Self {
        Self {
            last: 100,
            source: None,
            dyno: None,
            process_type: None,
        }
    }
}

impl Filter {
    pub(super) fn wants(&self, line: &Parts<'_>) -> bool {
        let is_of_type = |wanted: &String| {
            let rest = line.dyno.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.source.is_none_or(|source| source == line.source)
            && self.dyno.as_ref().is_none_or(|dyno| dyno == line.dyno)
            && self.process_type.as_ref().is_none_or(is_of_type)
    }
}

/// Reads the log in a folder. Takes no lock and makes no file.
#[derive(Debug, Clone)]
pub struct LogReader {
    folder: PathBuf,
}

/// Where a line begins or will begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) offset: u64,
}

impl LogReader {
    /// `folder` need not exist: a log that was never written is empty.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Whether nothing was ever logged.
    pub fn is_empty(&self) -> Result<bool, LogError> {
        Ok(segments::list(&self.folder)?.is_empty())
    }

    /// The newest lines that the filter wants, oldest first. A line under way is left out.
    pub fn query(&self, filter: &Filter) -> Result<Vec<LogLine>, LogError> {
        self.query_before(filter, None)
    }

    /// The same, and what gives the lines that come after these: none is missed or given twice.
    pub fn follow(&self, filter: &Filter) -> Result<(Vec<LogLine>, Follow), LogError> {
        let Some((place, file)) = self.end()? else {
            return Ok((Vec::new(), Follow::new(&self.folder, filter, None)));
        };
        let lines = self.query_before(filter, Some(place))?;
        // The next line may be one that does not say itself whose it is.
        let mut last = Vec::new();
        self.read_back(Some(place), |line| {
            if text_of_same(line).is_some() {
                return ControlFlow::Continue(());
            }
            last.extend_from_slice(line);
            ControlFlow::Break(())
        })?;
        let follow = Follow::new(&self.folder, filter, Some((place, file, last)));
        Ok((lines, follow))
    }

    /// Every name that occurs in the kept lines.
    pub fn dynos(&self) -> Result<BTreeSet<String>, LogError> {
        let mut dynos = BTreeSet::new();
        self.read_back(None, |line| {
            if let Some(line) = Parts::of(line)
                && !dynos.contains(line.dyno)
            {
                dynos.insert(line.dyno.to_owned());
            }
            ControlFlow::Continue(())
        })?;
        Ok(dynos)
    }

    fn query_before(&self, filter: &Filter, end: Option<Place>) -> Result<Vec<LogLine>, LogError> {
        let mut lines = Vec::new();
        if filter.last == 0 {
            return Ok(lines);
        }
        // Texts whose instant, source and dyno stand in a line further to the front.
        let mut waiting: Vec<Vec<u8>> = Vec::new();
        self.read_back(end, |line| {
            if let Some(text) = text_of_same(line) {
                if lines.len() + waiting.len() < filter.last {
                    waiting.push(text.to_vec());
                }
                return ControlFlow::Continue(());
            }
            let waited = std::mem::take(&mut waiting);
            if let Some(first) = Parts::of(line).filter(|parts| filter.wants(parts)) {
                let texts = waited.iter().map(|text| first.with(text)).chain([first]);
                let room = filter.last - lines.len();
                lines.extend(texts.filter_map(Parts::to_line).take(room));
            }
            if lines.len() < filter.last {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        lines.reverse();
        Ok(lines)
    }

    /// Where the next line will begin.
    fn end(&self) -> Result<Option<(Place, File)>, LogError> {
        // A segment that is listed may be dropped before it is opened.
        while let Some(number) = segments::list(&self.folder)?.pop() {
            let Some(file) = segments::open(&self.folder, number)? else {
                continue;
            };
            let offset = after_last_line(&file).map_err(|source| LogError::Read {
                path: segments::path(&self.folder, number),
                source,
            })?;
            return Ok(Some((Place { number, offset }, file)));
        }
        Ok(None)
    }

    /// Gives lines to `take`, the newest first, until it breaks.
    fn read_back(
        &self,
        end: Option<Place>,
        mut take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), LogError> {
        let numbers = segments::list(&self.folder)?;
        for number in numbers.into_iter().rev() {
            let Some(file) = segments::open(&self.folder, number)? else {
                continue;
            };
            let size = match end {
                Some(end) if number > end.number => continue,
                Some(end) if number == end.number => Ok(end.offset),
                _ => file.metadata().map(|metadata| metadata.len()),
            };
            let read = size.and_then(|size| lines_back(&file, size, &mut take));
            let flow = read.map_err(|source| LogError::Read {
                path: segments::path(&self.folder, number),
                source,
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Gives the whole lines of a file's first `size` bytes to `take`, the last one first.
fn lines_back(
    file: &File,
    size: u64,
    take: &mut impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut block = vec![0; BLOCK];
    // The end of a line whose beginning is further to the front, once a newline was seen.
    let mut tail: Option<Vec<u8>> = None;
    let mut position = size;
    while position > 0 {
        let start = position.saturating_sub(BLOCK as u64);
        let bytes = &mut block[..usize::try_from(position - start).unwrap_or(BLOCK)];
        file.read_exact_at(bytes, start)?;
        position = start;
        let mut end = bytes.len();
        while let Some(newline) = memchr::memrchr(b'\n', &bytes[..end]) {
            let flow = match tail.take() {
                None => ControlFlow::Continue(()),
                Some(tail) if tail.is_empty() => take(&bytes[newline + 1..end]),
                Some(tail) => take(&[&bytes[newline + 1..end], &tail].concat()),
            };
            if flow.is_break() {
                return Ok(flow);
            }
            tail = Some(Vec::new());
            end = newline;
        }
        tail = tail.map(|tail| [&bytes[..end], &tail].concat());
    }
    Ok(tail.map_or(ControlFlow::Continue(()), |line| take(&line)))
}

/// The size of a file without a line that has no end.
fn after_last_line(file: &File) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut position = file.metadata()?.len();
    while position > 0 {
        let start = position.saturating_sub(BLOCK as u64);
        let bytes = &mut block[..usize::try_from(position - start).unwrap_or(BLOCK)];
        file.read_exact_at(bytes, start)?;
        if let Some(newline) = memchr::memrchr(b'\n', bytes) {
            return Ok(start + newline as u64 + 1);
        }
        position = start;
    }
    Ok(0)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
