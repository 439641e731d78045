//! Runs `bin/detect` of one buildpack.

use crate::log::chain;
use crate::platform::Platform;
use crate::scratch::Scratch;
use cnb_spec::build_plan::BuildPlan;
use cnb_spec::buildpack::{Buildpack, Kind};
use cnb_spec::env_delta::{EnvError, build_environment};
use cnb_spec::env_vars;
use cnb_spec::exit_code;
use cnb_spec::toml_file::{self, FileError};
use std::io::{self, PipeReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What a buildpack said about the app.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// It wants to build it, by this plan.
    Pass(BuildPlan),
    /// Not for it.
    Fail,
    /// It failed: its exit code, unless it was killed or never ran, and why, unless the code is all there is.
    Error {
        code: Option<i32>,
        reason: Option<String>,
    },
}

/// A run of `bin/detect`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) verdict: Verdict,
    /// What it printed, on both streams.
    pub(crate) output: String,
}

impl Run {
    /// A run that did not take place.
    pub(crate) fn error(reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Error {
                code: None,
                reason: Some(reason.into()),
            },
            output: String::new(),
        }
    }
}

pub(crate) fn run(platform: &Platform<'_>, buildpack: &Buildpack) -> Run {
    match try_run(platform, buildpack) {
        Ok(run) => run,
        Err(error) => Run::error(chain(&error)),
    }
}

/// How long to wait for the end of the output of a buildpack that ended: a process that it left behind may hold it open
/// for as long as it likes.
const GRACE: Duration = Duration::from_secs(2);

/// More than anybody reads; what follows is read and forgotten.
const MOST_OUTPUT: usize = 64 << 20;

/// What a buildpack prints, read in a thread of its own.
struct Output {
    text: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<io::Result<()>>,
}

impl Output {
    fn of(mut reader: PipeReader) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = mpsc::channel();
        let shared = Arc::clone(&text);
        thread::spawn(move || {
            let mut part = vec![0; 64 << 10];
            let end = loop {
                match reader.read(&mut part) {
                    Ok(0) => break Ok(()),
                    Ok(length) => {
                        let mut text = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        let room = MOST_OUTPUT.saturating_sub(text.len());
                        text.extend_from_slice(&part[..length.min(room)]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                }
            };
            // Nobody listens any more once the grace is over.
            drop(sender.send(end));
        });
        Self { text, ended }
    }

    /// All of it, or what there is when the time is over.
    fn until(self, grace: Duration) -> io::Result<String> {
        if let Ok(end) = self.ended.recv_timeout(grace) {
            end?;
        }
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("making a folder for the build plan in {}", dir.display())]
    Scratch {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Environment(#[from] EnvError),
    #[error("starting {}", path.display())]
    Spawn {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("reading the build plan")]
    Plan(#[from] FileError),
}

fn try_run(platform: &Platform<'_>, buildpack: &Buildpack) -> Result<Run, RunError> {
    let path = buildpack.dir.join("bin/detect");
    if buildpack.kind == Kind::Extension && !path.exists() {
        // What it would say stands in a folder of its own (Image Extension API, "Detection").
        let plan = buildpack.dir.join("detect/plan.toml");
        let plan = toml_file::read_if_exists(&plan)?.unwrap_or_default();
        return Ok(Run {
            verdict: passed(buildpack, Ok(plan)),
            output: String::new(),
        });
    }
    let scratch = |source| RunError::Scratch {
        dir: platform.temp_dir.to_owned(),
        source,
    };
    let dir = Scratch::new(platform.temp_dir).map_err(scratch)?;
    let plan_path = dir.path().join("plan.toml");
    std::fs::write(&plan_path, "").map_err(scratch)?;
    let env = platform.environment(
        buildpack,
        &build_environment(platform.env.iter().cloned()),
        &[(env_vars::BUILD_PLAN_PATH, plan_path.as_os_str())],
    )?;

    let spawn = |source| RunError::Spawn {
        path: path.clone(),
        source,
    };
    let (reader, writer) = io::pipe().map_err(spawn)?;
    let mut command = Command::new(&path);
    command
        .arg(platform.platform_dir)
        .arg(&plan_path)
        .current_dir(platform.app_dir)
        .env_clear()
        .envs(&env)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(spawn)?)
        .stderr(writer);
    let mut child = command.spawn().map_err(spawn)?;
    // The command holds the writing ends; while it lives, the pipe never ends.
    drop(command);
    let output = Output::of(reader);
    let status = child.wait().map_err(spawn)?;
    let output = output.until(GRACE).map_err(spawn)?;

    let verdict = match status.code() {
        Some(0) => {
            let plan = toml_file::read(&plan_path);
            passed(
                buildpack,
                plan.map_err(|error| chain(&RunError::Plan(error))),
            )
        }
        Some(exit_code::DETECT_FAIL) => Verdict::Fail,
        Some(code) => Verdict::Error {
            code: Some(code),
            reason: None,
        },
        None => Verdict::Error {
            code: None,
            reason: Some(format!("bin/detect was ended by a {status}")),
        },
    };
    Ok(Run { verdict, output })
}

/// The verdict of one that wrote this plan.
fn passed(buildpack: &Buildpack, plan: Result<BuildPlan, String>) -> Verdict {
    let plan = plan.and_then(|plan| {
        plan.validate().map_err(|error| error.to_string())?;
        let requires = plan
            .alternatives()
            .iter()
            .any(|sections| !sections.requires.is_empty());
        if buildpack.kind == Kind::Extension && requires {
            return Err(format!(
                "extension {} outputs \"requires\" which is not allowed",
                buildpack.info.id.as_str()
            ));
        }
        Ok(plan)
    });
    match plan {
        Ok(plan) => Verdict::Pass(plan),
        Err(reason) => Verdict::Error {
            code: None,
            reason: Some(reason),
        },
    }
}
