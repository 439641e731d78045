//! The creator: all phases in one process.

use crate::Failure;
use crate::build_cache::{self, CacheRepository};
use crate::exporter::Sources;
use crate::images::Images;
use crate::inputs::Inputs;
use crate::output::Output;
use crate::scratch::Scratch;
use crate::{analyzer, exporter, phases, restorer};
use cnb_phases::log::Level;
use cnb_spec::exit_code;
use cnb_spec::group::Group;
use cnb_spec::toml_file;

/// Analyzes, detects, restores, builds and exports.
pub(crate) fn run(inputs: &Inputs, output: &Output, images: &Images) -> Result<(), Failure> {
    let phase = |name: &str| output.log(Level::Info, &format!("===> {name}"));
    build_cache::warn_of_none(inputs, output);
    exporter::warn_of_launch_cache(inputs, output);
    let scratch = Scratch::new(exit_code::RESTORE_ERROR)?;
    let repository = CacheRepository::find(inputs, output, images, &scratch);
    let cache = build_cache::open(inputs, repository.as_ref(), exit_code::RESTORE_ERROR)?;
    phase("ANALYZING");
    let analyzed = analyzer::run(inputs, output, images)?;
    phase("DETECTING");
    let detected = phases::detect(inputs, output)?;
    if !detected.group.group_extensions.is_empty() {
        return Err(Failure::new(
            exit_code::DETECT_ERROR,
            "failed to detect: detected order contains extensions which is not supported by the creator",
        ));
    }
    let group: Group = toml_file::read(&inputs.group)
        .map_err(|error| Failure::from_error(exit_code::DETECT_ERROR, "read the group", &error))?;
    if !inputs.skip_layers || inputs.api.at_least(10) {
        phase("RESTORING");
        restorer::restore(inputs, output, &group, &analyzed, cache.as_deref())?;
    }
    phase("BUILDING");
    phases::build(inputs, output)?;
    phase("EXPORTING");
    let from = Sources {
        images,
        scratch: &scratch,
        cache: cache.as_deref(),
    };
    exporter::export(inputs, output, &from, &group, &analyzed)
}
