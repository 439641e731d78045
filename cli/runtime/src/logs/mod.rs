//! The app's log: kept with a bound, queried, followed.
//!
//! ```text
//! lines ─► write ─► logs/0000000001.log …  ◄─ read ◄─ follow
//! print                                       for a person's eyes
//! ```
//!
//! A line on disk is the printed one, `2026-01-01T12:00:00.123456+00:00 app[web.1]: text`, so that
//! `cat` reads the log too; those that a dyno printed at the same instant begin with a blank instead
//! of repeating it, within one segment. The text's bytes are the dyno's own: not necessarily UTF-8, and with the
//! escapes and carriage returns that it wrote. Several processes may write at once; readers take no
//! lock, so nobody who reads slows a dyno down.
//!
//! A segment that is full becomes read-only (0400) and the next one begins; the oldest ones are
//! dropped. A line that a killed process left unfinished is ended by the next writer, and is no line.

mod follow;
mod line;
mod lines;
mod print;
mod read;
mod segments;
mod write;

pub use follow::Follow;
pub use line::{LogLine, Source};
pub use print::{Colour, Printout};
pub use read::{Filter, LogReader};
pub use write::{LogBounds, LogWriter};

pub(crate) use lines::LineSplitter;

use std::io;
use std::path::PathBuf;

/// Why a log could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("cannot make the log's folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot lock the log with {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("cannot list the log's folder {}", path.display())]
    List { path: PathBuf, source: io::Error },
    #[error("cannot begin the log's segment {}", path.display())]
    Begin { path: PathBuf, source: io::Error },
    #[error("cannot write to the log's segment {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot drop the log's oldest segment {}", path.display())]
    Drop { path: PathBuf, source: io::Error },
    #[error("cannot read the log's segment {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot wait for more of the log")]
    Wait { source: io::Error },
}
