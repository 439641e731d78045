//! Becoming the process: directly, or through one Bash that sources profile scripts first.

use crate::process::StartCommand;
use cnb_spec::env_delta::Environment;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The process could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("no command provided for process type {0:?}")]
    Empty(String),
    #[error("path lookup: exec: {program:?}: {reason}")]
    Lookup {
        program: OsString,
        reason: LookupError,
    },
    #[error("change directory {}", path.display())]
    WorkingDir { path: PathBuf, source: io::Error },
    #[error("direct exec {}", path.display())]
    Direct { path: PathBuf, source: io::Error },
    #[error("bash exec")]
    Bash(#[source] io::Error),
    #[error("find profiles: failed to determine if app profile script exists at path '{}'", path.display())]
    Profile { path: PathBuf, source: io::Error },
}

/// Why there is no executable of a name, in the words of Go's `exec.LookPath`, which upstream prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("executable file not found in $PATH")]
    NotFound,
    #[error("cannot run executable found relative to current directory")]
    Relative,
    #[error("stat {}: no such file or directory", .0.display())]
    Absent(PathBuf),
    #[error("is a directory")]
    Directory,
    #[error("permission denied")]
    Denied,
}

/// Replaces the launcher by the program. It is looked up in the process's own `PATH`, from the app directory,
/// before the working directory changes.
pub(crate) fn direct(
    command: &StartCommand,
    app_dir: &Path,
    environment: &Environment,
) -> Result<Infallible, StartError> {
    let Some(program) = command.program.first() else {
        let process_type = command.process_type.clone();
        return Err(StartError::Empty(process_type.unwrap_or_default()));
    };
    let search = environment.get(OsStr::new("PATH"));
    let path =
        look_up(program, search.map_or(OsStr::new(""), OsString::as_os_str)).map_err(|reason| {
            StartError::Lookup {
                program: program.clone(),
                reason,
            }
        })?;
    let working_dir = command.working_dir.as_deref().unwrap_or(app_dir);
    env::set_current_dir(working_dir).map_err(|source| StartError::WorkingDir {
        path: working_dir.to_owned(),
        source,
    })?;
    let source = Command::new(&path)
        .arg0(program)
        .args(&command.program[1..])
        .args(&command.args)
        .env_clear()
        .envs(environment)
        .exec();
    Err(StartError::Direct { path, source })
}

/// The app's own profile script, if there is one. Bash finds it by its bare name.
pub(crate) fn app_profile(app_dir: &Path) -> Result<Option<PathBuf>, StartError> {
    const NAME: &str = ".profile";
    let path = app_dir.join(NAME);
    match path.metadata() {
        Ok(metadata) => Ok((!metadata.is_dir()).then(|| PathBuf::from(NAME))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StartError::Profile { path, source }),
    }
}

/// Replaces the launcher by Bash, which sources the profiles, changes directory and replaces itself by a
/// second Bash with the command.
pub(crate) fn with_bash(
    command: &StartCommand,
    caller: &OsStr,
    profiles: &[PathBuf],
    app_dir: &Path,
    environment: &Environment,
) -> Result<Infallible, StartError> {
    let working_dir = command.working_dir.as_deref().unwrap_or(app_dir);
    let source = Command::new("/bin/bash")
        .arg0("bash")
        .arg("-c")
        .arg(bash_script(profiles, working_dir, command.args.len()))
        .arg(caller)
        .arg(command.program.join(OsStr::new(" ")))
        .args(&command.args)
        .env_clear()
        .envs(environment)
        .exec();
    Err(StartError::Bash(source))
}

/// The outer Bash's script. Without arguments the command is itself a script; with arguments, it and each
/// of them is expanded by the shell and becomes exactly one word.
fn bash_script(profiles: &[PathBuf], working_dir: &Path, args: usize) -> OsString {
    let mut script = Vec::new();
    for profile in profiles {
        script.extend_from_slice(b"source \"");
        script.extend_from_slice(profile.as_os_str().as_bytes());
        script.extend_from_slice(b"\"\n");
    }
    script.extend_from_slice(b"cd \"");
    script.extend_from_slice(working_dir.as_os_str().as_bytes());
    script.extend_from_slice(b"\"\n");
    if args == 0 {
        script.extend_from_slice(b"exec bash -c \"$@\"");
    } else {
        script.extend_from_slice(br#"exec bash -c '"$(eval echo \"$0\")""#);
        for word in 1..=args {
            let word = format!(r#" "$(eval echo \"${{{word}}}\")""#);
            script.extend_from_slice(word.as_bytes());
        }
        script.extend_from_slice(br#"' "${@:1}""#);
    }
    OsString::from_vec(script)
}

/// Finds an executable as Go's `exec.LookPath` does.
fn look_up(program: &OsStr, search: &OsStr) -> Result<PathBuf, LookupError> {
    let name = program.as_bytes();
    if matches!(name, b"" | b"." | b"..") {
        return Err(LookupError::NotFound);
    }
    if name.contains(&b'/') {
        let path = PathBuf::from(program);
        return check_executable(&path).map(|()| path);
    }
    if search.is_empty() {
        return Err(LookupError::NotFound);
    }
    for dir in search.as_bytes().split(|&byte| byte == b':') {
        let path = Path::new(OsStr::from_bytes(dir)).join(program);
        if check_executable(&path).is_ok() {
            return if path.is_absolute() {
                Ok(path)
            } else {
                // An empty entry or a relative one would run what lies in the current directory.
                Err(LookupError::Relative)
            };
        }
    }
    Err(LookupError::NotFound)
}

fn check_executable(path: &Path) -> Result<(), LookupError> {
    let metadata = path
        .metadata()
        .map_err(|_| LookupError::Absent(path.to_owned()))?;
    if metadata.is_dir() {
        return Err(LookupError::Directory);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|_| LookupError::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_for_bash() {
        let profiles = [PathBuf::from("/layers/a b/profile.d/x"), ".profile".into()];
        let script = bash_script(&profiles, Path::new("/workspace"), 0);
        insta::assert_snapshot!(script.to_string_lossy(), @r#"
        source "/layers/a b/profile.d/x"
        source ".profile"
        cd "/workspace"
        exec bash -c "$@"
        "#);
        let script = bash_script(&[], Path::new("/srv"), 2);
        insta::assert_snapshot!(script.to_string_lossy(), @r#"
        cd "/srv"
        exec bash -c '"$(eval echo \"$0\")" "$(eval echo \"${1}\")" "$(eval echo \"${2}\")"' "${@:1}"
        "#);
    }

    #[test]
    fn programs_are_looked_up() {
        let absent = LookupError::Absent("/nonexistent/sh".into());
        for (program, search, expected) in [
            ("sh", "/nonexistent:/bin", Ok("/bin/sh")),
            ("sh", "/bin/", Ok("/bin/sh")),
            ("/bin/sh", "", Ok("/bin/sh")),
            ("sh", "", Err(LookupError::NotFound)),
            ("no-such-program", "/bin", Err(LookupError::NotFound)),
            ("", "/bin", Err(LookupError::NotFound)),
            ("..", "/bin", Err(LookupError::NotFound)),
            ("/nonexistent/sh", "/bin", Err(absent)),
            ("/bin", "/bin", Err(LookupError::Directory)),
            ("/etc/passwd", "/bin", Err(LookupError::Denied)),
            ("passwd", "/etc", Err(LookupError::NotFound)),
            ("main.rs", "src", Err(LookupError::NotFound)),
        ] {
            let actual = look_up(OsStr::new(program), OsStr::new(search));
            assert_eq!(
                actual,
                expected.map(PathBuf::from),
                "{program:?} {search:?}"
            );
        }
    }
}
