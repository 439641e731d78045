//! Which command to start: a process type of the image or a command of the user, and with which arguments.

use cnb_spec::api::ApiVersion;
use cnb_spec::launch::LaunchMetadata;
use cnb_spec::metadata::Process;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A command that is ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartCommand {
    /// The image's process type; none for a command of the user.
    pub(crate) process_type: Option<String>,
    /// Usually the program alone. Several entries only come from images of Platform API < 0.10.
    pub(crate) program: Vec<OsString>,
    pub(crate) args: Vec<OsString>,
    /// Whether no shell stands between.
    pub(crate) direct: bool,
    /// None: the app directory.
    pub(crate) working_dir: Option<PathBuf>,
}

/// No command could be made out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectError {
    #[error("when there is no default process a command is required")]
    NoCommand,
    #[error("process type {0} was not found")]
    NotFound(String),
    #[error("failed to find buildpack for process {process_type} with buildpack ID {buildpack}")]
    UnknownBuildpack {
        process_type: String,
        buildpack: String,
    },
}

impl StartCommand {
    /// Selects the process whose type is the last part of `argv0`, else takes the arguments as a command.
    pub(crate) fn select(
        metadata: &LaunchMetadata,
        platform: ApiVersion,
        exec_env: &str,
        argv0: &OsStr,
        user_args: Vec<OsString>,
    ) -> Result<Self, SelectError> {
        let name = argv0.as_bytes().rsplit(|&byte| byte == b'/').next();
        let Some(process_type) = name
            .and_then(|name| std::str::from_utf8(name).ok())
            .filter(|name| metadata.process(name, None).is_some())
        else {
            return of_user(user_args);
        };
        let exec_env = platform.at_least(15).then_some(exec_env);
        let process = metadata
            .process(process_type, exec_env)
            .ok_or_else(|| SelectError::NotFound(process_type.to_owned()))?;
        of_image(metadata, platform, process, user_args)
    }
}

/// `-- program arg…` starts directly, `program arg…` through a shell.
fn of_user(mut args: Vec<OsString>) -> Result<StartCommand, SelectError> {
    let direct = args.len() > 1 && args[0] == "--";
    if direct {
        args.remove(0);
    }
    if args.is_empty() {
        return Err(SelectError::NoCommand);
    }
    let rest = args.split_off(1);
    Ok(StartCommand {
        process_type: None,
        program: args,
        args: rest,
        direct,
        working_dir: None,
    })
}

/// A process of the image with the user's arguments. What follows the program in `command` always stays;
/// `args` are defaults since Buildpack API 0.9 and platforms honour that since Platform API 0.10.
fn of_image(
    metadata: &LaunchMetadata,
    platform: ApiVersion,
    process: &Process,
    user_args: Vec<OsString>,
) -> Result<StartCommand, SelectError> {
    let mut program: Vec<OsString> = process.command.entries().iter().map(Into::into).collect();
    let defaults = process.args.iter().map(OsString::from);

    let args: Vec<OsString> = if !platform.at_least(10) {
        defaults.chain(user_args).collect()
    } else if program.len() > 1 {
        // Only a buildpack of API ≥ 0.9 can write such a command.
        let mut args = program.split_off(1);
        if user_args.is_empty() {
            args.extend(defaults);
        } else {
            args.extend(user_args);
        }
        args
    } else if user_args.is_empty() {
        defaults.collect()
    } else {
        let buildpack =
            metadata
                .buildpack_of(process)
                .ok_or_else(|| SelectError::UnknownBuildpack {
                    process_type: process.r#type.clone(),
                    buildpack: process.buildpack_id.clone(),
                })?;
        // The versions of all buildpacks were checked before.
        let replaces = buildpack
            .api
            .parse::<ApiVersion>()
            .is_ok_and(|api| api.at_least(9));
        if replaces {
            user_args
        } else {
            defaults.chain(user_args).collect()
        }
    };

    Ok(StartCommand {
        process_type: Some(process.r#type.clone()),
        program,
        args,
        direct: process.direct,
        working_dir: process.working_dir.as_ref().map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use cnb_spec::toml_file;
    use std::path::Path;

    const METADATA: &str = r#"
        [[buildpacks]]
        id = "old/buildpack"
        api = "0.8"
        [[buildpacks]]
        id = "new/buildpack"
        api = "0.9"
        [[processes]]
        type = "old"
        command = "serve"
        args = ["default", "args"]
        direct = true
        buildpack-id = "old/buildpack"
        [[processes]]
        type = "new"
        command = ["serve"]
        args = ["default", "args"]
        direct = true
        buildpack-id = "new/buildpack"
        working-dir = "/srv"
        [[processes]]
        type = "always"
        command = ["serve", "always"]
        args = ["default", "args"]
        direct = true
        buildpack-id = "new/buildpack"
        [[processes]]
        type = "shell"
        command = "serve $PORT"
        buildpack-id = "old/buildpack"
        [[processes]]
        type = "orphan"
        command = ["serve"]
        args = ["default"]
        direct = true
        buildpack-id = "gone"
        [[processes]]
        type = "checks"
        command = ["check"]
        direct = true
        buildpack-id = "new/buildpack"
        exec-env = ["test"]
    "#;

    fn select(platform: u64, exec_env: &str, argv: &[&str]) -> Result<StartCommand, SelectError> {
        let metadata = toml_file::parse(Path::new("metadata.toml"), METADATA).unwrap();
        StartCommand::select(
            &metadata,
            ApiVersion::new(0, platform),
            exec_env,
            OsStr::new(argv[0]),
            argv[1..].iter().map(Into::into).collect(),
        )
    }

    /// The command as one line, with the strategy and the type in front.
    fn line(command: &StartCommand) -> String {
        let strategy = if command.direct { "direct" } else { "shell" };
        let mut words = vec![
            strategy.to_owned(),
            command.process_type.clone().unwrap_or("-".to_owned()),
        ];
        let texts = command.program.iter().chain(&command.args);
        words.extend(texts.map(|text| text.to_string_lossy().into_owned()));
        words.join(" ")
    }

    #[test]
    fn argument_rules() {
        for (platform, argv, expected) in [
            // A buildpack before 0.9: the user's arguments are added.
            (
                12,
                &["/cnb/process/old"][..],
                "direct old serve default args",
            ),
            (12, &["old", "a", "b"], "direct old serve default args a b"),
            (9, &["old", "a"], "direct old serve default args a"),
            // From 0.9 on they replace the defaults.
            (12, &["new"], "direct new serve default args"),
            (12, &["new", "a", "b"], "direct new serve a b"),
            (10, &["new", "--"], "direct new serve --"),
            // What the command itself carries stays.
            (12, &["always"], "direct always serve always default args"),
            (12, &["always", "a"], "direct always serve always a"),
            // A platform before 0.10 knows no defaults.
            (9, &["new", "a"], "direct new serve default args a"),
            (
                9,
                &["always", "a"],
                "direct always serve always default args a",
            ),
            (12, &["shell"], "shell shell serve $PORT"),
            (12, &["shell", "a"], "shell shell serve $PORT a"),
            (12, &["orphan"], "direct orphan serve default"),
            // Commands of the user.
            (12, &["/cnb/lifecycle/launcher", "ls"], "shell - ls"),
            (12, &["launcher", "ls", "-l", "x y"], "shell - ls -l x y"),
            (12, &["launcher", "--", "ls", "-l"], "direct - ls -l"),
            (12, &["launcher", "--"], "shell - --"),
            // A name is taken from the last part of the path, and nowhere else.
            (12, &["/new/launcher", "new"], "shell - new"),
        ] {
            let command = select(platform, "production", argv);
            assert_eq!(line(&command.unwrap()), expected, "{platform} {argv:?}");
        }
    }

    #[test]
    fn refusals() {
        let unknown = SelectError::UnknownBuildpack {
            process_type: "orphan".to_owned(),
            buildpack: "gone".to_owned(),
        };
        for (platform, argv, expected) in [
            (12, &["launcher"][..], SelectError::NoCommand),
            (12, &["web"], SelectError::NoCommand),
            (12, &["new/"], SelectError::NoCommand),
            (12, &["orphan", "a"], unknown),
            (15, &["checks"], SelectError::NotFound("checks".to_owned())),
        ] {
            let actual = select(platform, "production", argv);
            assert_eq!(actual, Err(expected), "{platform} {argv:?}");
        }
    }

    #[test]
    fn execution_environments_count_from_platform_0_15_on() {
        for (platform, exec_env, found) in [
            (14, "production", true),
            (15, "production", false),
            (15, "test", true),
        ] {
            let actual = select(platform, exec_env, &["checks"]);
            assert_eq!(actual.is_ok(), found, "{platform} {exec_env}");
        }
    }

    #[test]
    fn only_the_image_s_processes_have_a_working_directory() {
        let image = select(12, "production", &["new"]).unwrap();
        assert_eq!(image.working_dir, Some(PathBuf::from("/srv")));
        let user = select(12, "production", &["launcher", "new"]).unwrap();
        assert_eq!(user.working_dir, None);
    }
}
