//! `slugc doctor [PATH]`: what a build would say before it runs anything.
//!
//! The buildpacks' own programs look at the source, so that they find what a build finds: the Python buildpack's under the
//! name `doctor`, the Aptfile buildpack's likewise, the Procfile buildpack's by its build, which only reads the Procfile. They see the source as a build does,
//! through links, and nothing of it is run.

use crate::args::DoctorArgs;
use crate::build_env;
use crate::failure::{Exit, Failure, OrFail};
use crate::parts::Parts;
use crate::project;
use crate::source::Source;
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};
use std::{fs, io};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Finding {
    level: Level,
    title: String,
    detail: String,
}

impl Finding {
    fn new(level: Level, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            level,
            title: title.into(),
            detail: detail.into(),
        }
    }
}

/// What to do when a program that came with slugc does not do its work.
const REPAIR: &str = "see that programs may be run from slugc's store (no noexec mount); if they may, install slugc again";

/// What the Python buildpack's program prints.
#[derive(Debug, Deserialize)]
struct Report {
    #[serde(default)]
    findings: Vec<Finding>,
}

pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let project = project::read(&args.path)?;
    let env = build_env::collect(&project.env, &args.env_file, &args.env)?;
    let source = Source::list(&args.path, &project)?;
    let store = Store::open()?;
    let parts = Parts::in_store(&store)?;

    let mut findings = vec![of_source(&source)];
    findings.extend(of_secrets(&source));
    let work = Work::lay_out(&source, &env)?;
    findings.extend(work.procfile(&parts)?);
    findings.extend(work.aptfile(&parts)?);
    findings.extend(work.python(&parts)?);

    if args.json {
        let json = serde_json::to_string_pretty(&findings)
            .or_fail(Exit::General, || "cannot print the findings".to_owned())?;
        printer.result(&json);
    } else {
        print(&printer, &findings);
    }
    let has_errors = findings.iter().any(|finding| finding.level == Level::Error);
    Ok(if has_errors {
        ExitCode::from(Exit::Input.code())
    } else {
        ExitCode::SUCCESS
    })
}

fn print(printer: &Printer, findings: &[Finding]) {
    let style = printer.style();
    for finding in findings {
        let sign = match finding.level {
            Level::Ok => style.cyan("✓"),
            Level::Warning => style.yellow("!"),
            Level::Error => style.red("✗"),
        };
        printer.result(&format!("{sign} {}", finding.title));
        for line in finding.detail.lines() {
            printer.result(format!("    {line}").trim_end());
        }
    }
}

fn of_source(source: &Source) -> Finding {
    /// Bytes; more is rarely code.
    const MUCH: u64 = 200_000_000;
    let (files, bytes) = source.size();
    let title = format!("The source has {files} files, {}", size::bytes(bytes));
    if bytes > MUCH {
        return Finding::new(
            Level::Warning,
            title,
            "All of it becomes part of the image. Leave out what the app does not read: write it in .slugignore.",
        );
    }
    Finding::new(Level::Ok, title, "")
}

fn of_secrets(source: &Source) -> Option<Finding> {
    let first = source.secrets().first()?;
    let names: Vec<String> = source
        .secrets()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Some(Finding::new(
        Level::Ok,
        format!("Secrets stay out of the image: {}", names.join(", ")),
        format!(
            "The app gets them as config vars (slugc config:set). To have one in the image, write !{} in .slugignore.",
            first.display()
        ),
    ))
}

/// What the buildpacks' programs are shown; removed when the value goes.
struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    fn lay_out(source: &Source, env: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(Exit::General, "cannot make a scratch folder")
                .because(error)
                .hint("see that the folder for temporary files (TMPDIR, else /tmp) has room and can be written to")
        };
        let folder = tempfile::tempdir().map_err(failed)?;
        for name in ["app", "layers", "platform/env"] {
            fs::create_dir_all(folder.path().join(name)).map_err(failed)?;
        }
        source.link(&folder.path().join("app"))?;
        for (name, value) in env {
            fs::write(folder.path().join("platform/env").join(name), value).map_err(failed)?;
        }
        fs::write(folder.path().join("plan.toml"), "").map_err(failed)?;
        Ok(Self { folder })
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn output(&self, buildpack: &Path, command: &mut Command) -> Result<Output, Failure> {
        command
            .current_dir(self.path("app"))
            .stdin(Stdio::null())
            .env_clear()
            .env("CNB_BUILDPACK_DIR", buildpack)
            .env("CNB_TARGET_OS", "linux")
            .env("CNB_TARGET_ARCH", "amd64")
            .env("CNB_TARGET_DISTRO_NAME", "debian")
            .env("CNB_TARGET_DISTRO_VERSION", "13")
            .output()
            .map_err(|error| {
                let message = format!("cannot run a program of {}", buildpack.display());
                Failure::new(Exit::General, message)
                    .because(error)
                    .hint(REPAIR)
            })
    }

    /// The Procfile, as the Procfile buildpack reads it.
    fn procfile(&self, parts: &Parts) -> Result<Vec<Finding>, Failure> {
        // That there is none is the Python buildpack's business: it knows what to write.
        if fs::symlink_metadata(self.path("app/Procfile")).is_err() {
            return Ok(Vec::new());
        }
        let buildpack = parts.buildpack("procfile");
        let output = self.output(
            &buildpack,
            Command::new(buildpack.join("bin/build"))
                .arg(self.path("layers"))
                .arg(self.path("platform"))
                .arg(self.path("plan.toml")),
        )?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let mut findings = blocks(&said);
        let types: Vec<&str> = said
            .lines()
            .filter_map(|line| Some(line.split_once(" -> ")?.0))
            .collect();
        if output.status.success() {
            let title = format!("Procfile has {}", types.join(", "));
            if types.contains(&"web") {
                findings.insert(0, Finding::new(Level::Ok, title, ""));
            } else if !types.is_empty() {
                let detail = "It has no process type web, so nothing will answer requests.";
                findings.insert(0, Finding::new(Level::Warning, title, detail));
            }
        }
        Ok(findings)
    }

    /// The Aptfile, as the Aptfile buildpack reads it; whether the packages exist only a mirror knows.
    fn aptfile(&self, parts: &Parts) -> Result<Vec<Finding>, Failure> {
        if fs::symlink_metadata(self.path("app/Aptfile")).is_err() {
            return Ok(Vec::new());
        }
        let buildpack = parts.buildpack("aptfile");
        let output = self.output(
            &buildpack,
            Command::new(buildpack.join("bin/build"))
                .arg0("doctor")
                .arg(self.path("app")),
        )?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let mut findings = blocks(&said);
        if findings.iter().all(|finding| finding.level != Level::Error) {
            let asked = said.lines().last().unwrap_or_default();
            findings.insert(
                0,
                Finding::new(Level::Ok, format!("Aptfile asks for {asked}"), ""),
            );
        }
        Ok(findings)
    }

    fn python(&self, parts: &Parts) -> Result<Vec<Finding>, Failure> {
        let buildpack = parts.buildpack("python");
        let mut command = Command::new(buildpack.join("bin/build"));
        command
            .arg0("doctor")
            .arg(self.path("app"))
            .arg(self.path("platform"))
            .args(stack_python());
        let output = self.output(&buildpack, &mut command)?;
        if !output.status.success() {
            return Err(Failure::new(
                Exit::General,
                "the Python buildpack could not look at the project",
            )
            .because(String::from_utf8_lossy(&output.stderr).trim().to_owned())
            .hint(REPAIR));
        }
        let report: Report =
            toml::from_str(&String::from_utf8_lossy(&output.stdout)).map_err(|error| {
                Failure::new(Exit::General, "cannot read what the Python buildpack found")
                    .because(error)
                    .hint(REPAIR)
            })?;
        Ok(report.findings)
    }
}

/// The version of the default stack's Python, by its lock.
fn stack_python() -> Option<String> {
    let lock = debian_stack::builtin_lock(debian_stack::DEFAULT, "amd64")?.ok()?;
    let package = lock.packages.iter().find(|package| {
        package
            .name
            .strip_prefix("python3.")
            .is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()))
    })?;
    Some(package.version.split('-').next()?.to_owned())
}

/// The warnings and errors in a buildpack's output: `[Warning: title]`, then the text up to the next one.
fn blocks(said: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut is_open = false;
    for line in said.lines() {
        let title = line.strip_suffix(']').and_then(|line| {
            let warning = line
                .strip_prefix("[Warning: ")
                .map(|title| (Level::Warning, title));
            warning.or_else(|| {
                line.strip_prefix("[Error: ")
                    .map(|title| (Level::Error, title))
            })
        });
        if let Some((level, title)) = title {
            findings.push(Finding::new(level, title, ""));
            is_open = true;
        } else if let Some(last) = findings.last_mut().filter(|_| is_open) {
            if !last.detail.is_empty() {
                last.detail.push('\n');
            }
            last.detail.push_str(line);
        }
    }
    for finding in &mut findings {
        finding.detail = finding.detail.trim().to_owned();
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_buildpacks_output() {
        let said =
            "[Procfile]\nweb -> x\n\n[Warning: one]\nwhy\n\nwhat to do\n\n[Error: two]\nbecause\n";
        assert_eq!(
            blocks(said),
            [
                Finding::new(Level::Warning, "one", "why\n\nwhat to do"),
                Finding::new(Level::Error, "two", "because"),
            ]
        );
        assert_eq!(blocks("all is well\n"), []);
    }

    #[test]
    fn the_stack_has_a_python() {
        assert!(stack_python().is_some_and(|version| version.starts_with("3.")));
    }
}
