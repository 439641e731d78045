//! What a platform wants done about deprecated APIs and experimental features: nothing, a warning, or a refusal.

use crate::Failure;
use crate::output::Output;
use cnb_phases::log::Level;
use cnb_spec::{env_vars, exit_code};

/// What is asked for besides building.
pub(crate) const LAYOUT: &str = "export to OCI layout format";
/// Image extensions, before Platform API 0.13.
pub(crate) const DOCKERFILES: &str = "Dockerfiles";

/// Refuses an experimental feature unless the platform allows such features. The specification calls the mode that
/// says nothing `silent`, the reference lifecycle `quiet`.
pub(crate) fn guard_experimental(feature: &str, output: &Output) -> Result<(), Failure> {
    let variable = env_vars::EXPERIMENTAL_MODE;
    let mode = std::env::var(variable).unwrap_or_default();
    let message = format!("Platform requested experimental feature '{feature}'");
    match mode.as_str() {
        "quiet" | "silent" => Ok(()),
        "" | "error" => {
            output.log(Level::Error, &message);
            Err(Failure::new(
                exit_code::FAILED,
                format!(
                    "experimental features are disabled by {variable}=error; set it to warn to allow them"
                ),
            ))
        }
        _ => {
            output.log(Level::Warn, &message);
            Ok(())
        }
    }
}
