//! Compiles installed packages to bytecode, once, on all processors, while the build goes on.

use crate::files;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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

/// Starts to compile `modules` with the Python given. Modules that have bytecode are left alone.
pub(crate) fn start(python: &Path, modules: Vec<PathBuf>) -> Result<Compilation, BytecodeError> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let processes = modules.len().div_ceil(WORTH_A_PROCESS).min(processors);
    let modules = Arc::new(Mutex::new(modules));
    let mut workers = Vec::new();
    for _ in 0..processes {
        let child = Command::new(python)
            .args(["-I", "-S", "-W", "ignore", "-c", COMPILER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| BytecodeError::Start {
                program: python.to_path_buf(),
                source,
            })?;
        let modules = Arc::clone(&modules);
        workers.push(thread::spawn(move || serve(child, &modules)));
    }
    Ok(Compilation { workers })
}

/// Hands modules to one process until there are none left.
fn serve(mut child: Child, modules: &Mutex<Vec<PathBuf>>) -> io::Result<usize> {
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the process has no pipes"));
    };
    let mut answers = BufReader::new(stdout).lines();
    let mut compiled = 0;
    loop {
        let batch: Vec<PathBuf> = {
            let mut modules = modules.lock().unwrap_or_else(PoisonError::into_inner);
            let keep = modules.len().saturating_sub(BATCH);
            modules.split_off(keep)
        };
        if batch.is_empty() {
            break;
        }
        let mut request = Vec::new();
        for module in &batch {
            request.extend_from_slice(module.as_os_str().as_encoded_bytes());
            request.push(b'\n');
        }
        request.push(b'\n');
        stdin.write_all(&request)?;
        let answer = answers
            .next()
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))??;
        compiled += answer.parse::<usize>().map_err(io::Error::other)?;
    }
    drop(stdin);
    child.wait()?;
    Ok(compiled)
}

/// Removes the bytecode of a module, if it has some.
pub(crate) fn forget(module: &Path, tag: &str) -> io::Result<()> {
    let (Some(folder), Some(stem)) = (module.parent(), module.file_stem()) else {
        return Ok(());
    };
    let mut name = stem.to_owned();
    name.push(format!(".{tag}.pyc"));
    files::remove_if_there(&folder.join("__pycache__").join(name))
}
