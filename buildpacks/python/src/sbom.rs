//! What is in the virtual environment, for scanners: an SBOM as `CycloneDX` and one as SPDX.
//!
//! Both are made of what the installed packages say about themselves (their `.dist-info` folders). The same
//! environment gives the same bytes: identifiers are derived from the content, and the only time is that of
//! `SOURCE_DATE_EPOCH`.

mod cyclonedx;
mod dist_info;
mod licence;
mod lock_hashes;
mod spdx;

use crate::install::Installer;
use crate::layers::venv::{NAME, Venv};
use crate::project::Plan;
use crate::python_version::PythonVersion;
use crate::{BuildpackError, PythonBuildpack, fingerprint};
use dist_info::Distribution;
use libcnb::Env;
use libcnb::build::BuildContext;
use libcnb::data::sbom::SbomFormat;
use libcnb::sbom::Sbom;
use sha2::{Digest, Sha256};
use std::io;
use std::path::PathBuf;

/// The environment's packages could not be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SbomError {
    #[error("could not list the packages in {}", folder.display())]
    List {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not read {}", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not write an SBOM as JSON")]
    Write(#[source] serde_json::Error),
}

/// Everything that an SBOM of an environment tells.
struct Bill {
    /// The Python that the packages are for.
    python: Option<PythonVersion>,
    /// By name.
    distributions: Vec<Distribution>,
    /// RFC 3339.
    created: String,
    /// A UUID of version 8 (RFC 9562), derived from all of the above.
    id: String,
}

/// Writes the SBOM files of the environment's layer, unless it is the last build's and has them.
pub(crate) fn write(
    context: &BuildContext<PythonBuildpack>,
    venv: &Venv,
    python: PythonVersion,
    plan: Option<&Plan>,
    env: &Env,
) -> libcnb::Result<(), BuildpackError> {
    let file = |extension: &str| {
        let name = format!("{}.sbom.{extension}", NAME.as_str());
        context.layers_dir.join(name)
    };
    if !venv.is_changed() && file("cdx.json").is_file() && file("spdx.json").is_file() {
        return Ok(());
    }
    let sboms = describe(context, venv, python, plan, env).map_err(BuildpackError::Sbom)?;
    venv.write_sboms(&sboms)
}

/// What only the build used: the tool that installed the packages. Such a file has to be written with each build.
pub(crate) fn of_build(
    installer: &Installer,
    env: &Env,
) -> libcnb::Result<Vec<Sbom>, BuildpackError> {
    let (name, version) = match installer {
        Installer::Nothing => return Ok(Vec::new()),
        Installer::Uv { version, .. } => ("uv", version.clone()),
        Installer::Pip { pip, .. } => ("pip", pip.version.clone()),
        Installer::Own { tool, .. } => (tool.kind.name(), tool.version.clone()),
    };
    let bill = Bill::of(None, vec![Distribution::tool(name, &version)], env);
    Ok(bill.files("build").map_err(BuildpackError::Sbom)?)
}

fn describe(
    context: &BuildContext<PythonBuildpack>,
    venv: &Venv,
    python: PythonVersion,
    plan: Option<&Plan>,
    env: &Env,
) -> Result<Vec<Sbom>, SbomError> {
    let mut distributions =
        dist_info::read_all(&venv.site_packages).map_err(|source| SbomError::List {
            folder: venv.site_packages.clone(),
            source,
        })?;
    if let Some(plan) = plan {
        lock_hashes::add(&mut distributions, &context.app_dir, &plan.source)?;
    }
    Bill::of(Some(python), distributions, env).files(NAME.as_str())
}

impl Bill {
    fn of(python: Option<PythonVersion>, distributions: Vec<Distribution>, env: &Env) -> Self {
        let created = rfc3339(
            env.get("SOURCE_DATE_EPOCH")
                .and_then(|seconds| seconds.to_str()?.trim().parse().ok())
                .unwrap_or(0),
        );
        let id = identifier(python, &distributions, &created);
        Self {
            python,
            distributions,
            created,
            id,
        }
    }

    fn files(&self, name: &str) -> Result<Vec<Sbom>, SbomError> {
        Ok(vec![
            Sbom::from_bytes(SbomFormat::CycloneDxJson, cyclonedx::document(self)?),
            Sbom::from_bytes(SbomFormat::SpdxJson, spdx::document(self, name)?),
        ])
    }
}

fn identifier(
    python: Option<PythonVersion>,
    distributions: &[Distribution],
    created: &str,
) -> String {
    let text = format!("{python:?}\n{created}\n{distributions:?}");
    let hex = fingerprint::hex(&Sha256::digest(text.as_bytes()));
    format!(
        "{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

/// Seconds since 1970 as a date and time (days to civil date after Howard Hinnant's `chrono` algorithms); years after
/// 9999 as 1970.
fn rfc3339(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let seconds = if seconds > LAST { 0 } else { seconds };
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (315_532_801, "1980-01-01T00:00:01Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (u64::MAX, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
