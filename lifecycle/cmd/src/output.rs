//! The log, on standard output: platforms read it there, whatever the level.

use cnb_phases::log::Level;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Prints lines from a level on, which all clones share.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    level: Arc<AtomicU8>,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            level: Arc::new(AtomicU8::new(Level::Info as u8)),
        }
    }
}

impl Output {
    pub(crate) fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        if level as u8 >= self.level.load(Ordering::Relaxed) {
            let prefix = match level {
                Level::Debug | Level::Info => "",
                Level::Warn => "Warning: ",
                Level::Error => "ERROR: ",
            };
            print(&format!("{prefix}{message}"));
        }
    }

    pub(crate) fn error(&self, message: &str) {
        self.log(Level::Error, message);
    }
}

/// Prints one line as it is.
pub(crate) fn print(text: &str) {
    // Whoever closed the other end does not want the lines; that is no reason to end the phase.
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}
