//! `slugc buildpack new`: a buildpack that detects and builds, to begin with.

use crate::failure::{Exit, Failure, OrFail};
use cnb_spec::api::{self, ApiVersion};
use cnb_spec::names::BuildpackId;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is asked for.
pub(crate) struct Scaffold<'a> {
    pub(crate) id: &'a str,
    pub(crate) api: &'a str,
    pub(crate) version: &'a str,
    /// Where to; else a folder with the last part of the id as its name.
    pub(crate) folder: Option<&'a Path>,
}

const DETECT: &str = r#"#!/usr/bin/env bash
# Whether this buildpack is for the app in the current folder: exit code 0 for yes, 100 for no.
# What it provides and requires goes to the file "$CNB_BUILD_PLAN_PATH".
set -euo pipefail

exit 0
"#;

const BUILD: &str = r#"#!/usr/bin/env bash
# Builds the app in the current folder. Layers go below "$CNB_LAYERS_DIR", each with a file NAME.toml beside it.
set -euo pipefail

echo "---> @ID@"

layer="$CNB_LAYERS_DIR/greeting"
mkdir -p "$layer/bin"
printf '#!/bin/sh\necho "Hello from @ID@"\n' > "$layer/bin/greet"
chmod +x "$layer/bin/greet"
# launch: the layer is part of the image; build: later buildpacks see it; cache: the next build gets it back.
cat > "$layer.toml" <<TOML
[types]
launch = true
TOML

cat > "$CNB_LAYERS_DIR/launch.toml" <<TOML
[[processes]]
type = "greet"
command = @COMMAND@
TOML
"#;

/// Writes the buildpack; its folder must not be there, or be empty.
pub(crate) fn write(scaffold: &Scaffold<'_>) -> Result<PathBuf, Failure> {
    let id: BuildpackId = scaffold.id.parse().or_fail(Exit::Usage, || {
        format!("{:?} cannot be a buildpack's id", scaffold.id)
    })?;
    let api: ApiVersion = scaffold
        .api
        .parse()
        .or_fail(Exit::Usage, || "cannot use --api".to_owned())?;
    // The programs find their folders by variables that came with 0.8.
    let supported: Vec<ApiVersion> = api::BUILDPACK
        .into_iter()
        .filter(|it| it.at_least(8))
        .collect();
    if !supported.contains(&api) {
        let list: Vec<String> = supported.iter().map(ToString::to_string).collect();
        return Err(Failure::new(
            Exit::Usage,
            format!("slugc writes no buildpacks for Buildpack API {api}"),
        )
        .hint(format!("choose one of {}", list.join(", "))));
    }
    let parts: Vec<&str> = scaffold.version.split('.').collect();
    let is_version = parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_version {
        return Err(Failure::new(
            Exit::Usage,
            format!("{:?} cannot be a buildpack's version", scaffold.version),
        )
        .hint("write three numbers, for example 0.1.0"));
    }
    let name = scaffold.id.rsplit('/').next().unwrap_or(scaffold.id);
    let folder = scaffold
        .folder
        .map_or_else(|| PathBuf::from(name), Path::to_owned);
    let writing = || format!("cannot write the buildpack to {}", folder.display());
    if let Ok(mut entries) = fs::read_dir(&folder)
        && entries.next().is_some()
    {
        return Err(Failure::new(Exit::Input, writing())
            .because("the folder is not empty")
            .hint("name another folder with --path DIR"));
    }
    // Before 0.9 a command is one string.
    let command = if api.at_least(9) {
        "[\"greet\"]"
    } else {
        "\"greet\""
    };
    let descriptor = format!(
        "api = \"{api}\"\n\n[buildpack]\nid = \"{id}\"\nversion = \"{}\"\nname = \"{name}\"\n\n\
         [[targets]]\nos = \"linux\"\narch = \"amd64\"\n\n[[targets]]\nos = \"linux\"\narch = \"arm64\"\n\n\
         # For platforms from before targets.\n[[stacks]]\nid = \"*\"\n",
        scaffold.version
    );
    let build = BUILD
        .replace("@ID@", scaffold.id)
        .replace("@COMMAND@", command);
    let attempt = || -> io::Result<()> {
        fs::create_dir_all(folder.join("bin"))?;
        fs::write(folder.join("buildpack.toml"), descriptor)?;
        for (name, text) in [("detect", DETECT), ("build", &build)] {
            let path = folder.join("bin").join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        }
        Ok(())
    };
    attempt().or_fail(Exit::Input, writing)?;
    Ok(folder)
}
