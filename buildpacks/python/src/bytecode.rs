//! Compiles installed packages to bytecode, once, on all processors, while the build goes on.

use crate::files;
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// The program that each compiling process runs.
const COMPILER: &str = concat!(
    include_str!("helpers/bytecode.py"),
    include_str!("helpers/compile.py")
);

/// How many modules a process gets at once: enough to keep the answers rare, few enough that the
/// processes end together.
const BATCH: usize = 16;
/// With fewer modules than this a second process would cost more than it gives.
const WORTH_A_PROCESS: usize = 24;

/// A module could not be compiled because the compiler itself failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BytecodeError {
    #[error("could not start {} to compile bytecode", program.display())]
    Start {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the process that compiles bytecode ended early")]
    Compiler(#[source] io::Error),
}

/// Modules being compiled by processes beside this one.
pub(crate) struct Compilation {
    workers: Vec<JoinHandle<io::Result<usize>>>,
}

impl Compilation {
    /// Waits for the end; returns how many modules have bytecode.
    pub(crate) fn finish(self) -> Result<usize, BytecodeError> {
        let mut compiled = 0;
        let mut failure = None;
        for worker in self.workers {
            match worker.join() {
                Ok(Ok(count)) => compiled += count,
                Ok(Err(error)) => failure = Some(error),
                Err(_) => failure = Some(io::Error::other("a thread panicked")),
            }
        }
        match failure {
            Some(error) => Err(BytecodeError::Compiler(error)),
            None => Ok(compiled),
        }
    }
}

/// A process that compiles modules while they are still being unpacked: a wheel arrives and is unpacked on one
/// processor, and the others have nothing to do until all is installed.
///
/// It compiles what it finds, for the place that it will have; whether just that came to be in this place is looked at
/// when the bytecode is written. What did not is compiled like everything else.
pub(crate) struct Ahead(Worker);

impl Ahead {
    /// Starts to compile what uv unpacks into its `cache` for `site_packages`; none where there is but one processor.
    pub(crate) fn start(python: &Path, cache: &Path, site_packages: &Path) -> Option<Self> {
        if processors() < 2 {
            return None;
        }
        // What cannot be compiled ahead is compiled afterwards.
        Worker::start(python, &[cache, site_packages])
            .ok()
            .map(Self)
    }
}

/// Starts to compile `modules` with the Python given. Modules that have bytecode are left alone.
pub(crate) fn start(
    python: &Path,
    modules: Vec<PathBuf>,
    ahead: Option<Ahead>,
) -> Result<Compilation, BytecodeError> {
    let processes = modules.len().div_ceil(WORTH_A_PROCESS).min(processors());
    let modules = Arc::new(Mutex::new(modules));
    let mut workers = Vec::new();
    for worker in ahead
        .map(|Ahead(worker)| Ok((worker, true)))
        .into_iter()
        .chain(std::iter::repeat_with(|| {
            Worker::start(python, &[]).map(|worker| (worker, false))
        }))
        .take(processes)
    {
        let (worker, is_ahead) = worker.map_err(|source| BytecodeError::Start {
            program: python.to_path_buf(),
            source,
        })?;
        let modules = Arc::clone(&modules);
        workers.push(thread::spawn(move || worker.serve(&modules, is_ahead)));
    }
    Ok(Compilation { workers })
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A process that compiles.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(python: &Path, arguments: &[&Path]) -> io::Result<Self> {
        let mut child = Command::new(python)
            .args(["-I", "-S", "-W", "ignore", "-c", COMPILER])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("the process has no pipes"));
        };
        Ok(Self {
            child,
            stdin,
            answers: BufReader::new(stdout),
        })
    }

    /// Hands modules to the process until there are none left; first, those that it compiled ahead.
    fn serve(mut self, modules: &Mutex<Vec<PathBuf>>, is_ahead: bool) -> io::Result<usize> {
        let lock = || modules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut compiled = 0;
        if is_ahead {
            let known = self.compiled_ahead()?;
            let batch = lock()
                .extract_if(.., |module| known.contains(module.as_os_str()))
                .collect::<Vec<_>>();
            if !batch.is_empty() {
                compiled += self.compile(&batch)?;
            }
        }
        loop {
            let batch = {
                let mut modules = lock();
                let keep = modules.len().saturating_sub(BATCH);
                modules.split_off(keep)
            };
            if batch.is_empty() {
                break;
            }
            compiled += self.compile(&batch)?;
        }
        drop(self.stdin);
        self.child.wait()?;
        Ok(compiled)
    }

    fn compiled_ahead(&mut self) -> io::Result<HashSet<OsString>> {
        self.stdin.write_all(b"\n")?;
        let mut known = HashSet::new();
        loop {
            let path = self.answer()?;
            if path.is_empty() {
                return Ok(known);
            }
            known.insert(path.into());
        }
    }

    fn compile(&mut self, batch: &[PathBuf]) -> io::Result<usize> {
        let mut request = Vec::new();
        for module in batch {
            request.extend_from_slice(module.as_os_str().as_encoded_bytes());
            request.push(b'\n');
        }
        request.push(b'\n');
        self.stdin.write_all(&request)?;
        self.answer()?.parse().map_err(io::Error::other)
    }

    /// The next line that the process prints.
    fn answer(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Where the bytecode of a module is (PEP 3147); `tag`: of the Python, such as `cpython-313`.
pub(crate) fn place(module: &Path, tag: &str) -> PathBuf {
    let mut name = module.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{tag}.pyc"));
    module.with_file_name("__pycache__").join(name)
}

/// Removes the bytecode of a module, if it has some.
pub(crate) fn forget(module: &Path, tag: &str) -> io::Result<()> {
    files::remove_if_there(&place(module, tag))
}

#[cfg(test)]
#[path = "bytecode_tests.rs"]
mod tests;
