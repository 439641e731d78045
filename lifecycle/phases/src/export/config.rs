//! The image's configuration: environment, entrypoint, labels, history.

use super::{ExportError, Inputs, Layers};
use cnb_spec::env_vars;
use cnb_spec::json;
use cnb_spec::labels::{self, LayersMetadata, RunImageForRebase};
use cnb_spec::metadata::BuildMetadata;
use cnb_spec::paths;
use cnb_spec::run::RunImageNames;
use oci_image::{History, Image, ImageConfig};

/// The base's part of the label.
pub(super) fn run_image(inputs: &Inputs<'_>) -> RunImageForRebase {
    let top = inputs.run_image.config.rootfs.diff_ids.last();
    RunImageForRebase {
        top_layer: top.map(ToString::to_string).unwrap_or_default(),
        reference: inputs.run_image_reference.to_owned(),
        names: if inputs.platform_api.at_least(12) {
            inputs.run_image_names.clone()
        } else {
            RunImageNames::default()
        },
    }
}

/// The process that starts: the user's choice, else the buildpacks', else the launcher without one.
pub(super) fn entrypoint(
    inputs: &Inputs<'_>,
    metadata: &BuildMetadata,
) -> Result<String, ExportError> {
    if let Some(wanted) = inputs.process_type {
        if metadata.process(wanted).is_none() {
            return Err(ExportError::NoSuchProcess {
                wanted: wanted.to_owned(),
                available: metadata
                    .processes
                    .iter()
                    .map(|process| process.r#type.clone())
                    .collect(),
            });
        }
        inputs
            .log
            .info(format_args!("Setting default process type '{wanted}'"));
        return Ok(paths::process(wanted));
    }
    if let Some(default) = &metadata.default_process_type {
        inputs
            .log
            .info(format_args!("Setting default process type '{default}'"));
        return Ok(paths::process(default));
    }
    inputs.log.info("no default process type");
    Ok(paths::LAUNCHER.to_owned())
}

/// The run image with everything put on top.
pub(super) fn image(
    inputs: &Inputs<'_>,
    layers: &Layers<'_>,
    created: &str,
    entrypoint: &str,
    layers_metadata: &LayersMetadata,
    metadata: &BuildMetadata,
) -> Result<Image, ExportError> {
    let mut image = inputs.run_image.clone();
    image.manifest = image.manifest.into_oci();
    image.manifest.annotations.clear();
    let config = &mut image.config;
    config.created = Some(created.to_owned());
    config.history = history(inputs, &inputs.run_image.config, layers, created);
    for layer in &layers.list {
        image.manifest.layers.push(layer.blob.descriptor());
        config.rootfs.diff_ids.push(layer.blob.diff_id);
    }

    let run = &mut config.config;
    run.set_env(env_vars::LAYERS_DIR, inputs.layers_path);
    run.set_env(env_vars::APP_DIR, inputs.app_path);
    run.set_env(env_vars::PLATFORM_API, &inputs.platform_api.to_string());
    run.set_env(env_vars::DEPRECATION_MODE, "quiet");
    let mut path = format!("{}:{}", paths::PROCESS_DIR, paths::LIFECYCLE_DIR);
    // A base without a PATH must not leave an empty last element, which would be the working directory.
    if let Some(base) = run.env("PATH").filter(|base| !base.is_empty()) {
        path = format!("{path}:{base}");
    }
    run.set_env("PATH", &path);
    inputs.app_path.clone_into(&mut run.working_dir);
    run.entrypoint = vec![entrypoint.to_owned()];
    run.cmd = Vec::new();

    let mut label =
        |name: &'static str, text: Result<String, serde_json::Error>| -> Result<(), ExportError> {
            let text = text.map_err(|source| ExportError::Label {
                label: name,
                source,
            })?;
            inputs.log.info(format_args!("Adding label '{name}'"));
            run.labels.insert(name.to_owned(), text);
            Ok(())
        };
    label(
        labels::LIFECYCLE_METADATA,
        json::label_text(layers_metadata),
    )?;
    let build = labels::build_metadata(metadata, inputs.launcher_metadata, inputs.platform_api);
    label(labels::BUILD_METADATA, build)?;
    label(labels::PROJECT_METADATA, inputs.project.label())?;
    for extra in &metadata.labels {
        inputs
            .log
            .info(format_args!("Adding label '{}'", extra.key));
        run.labels.insert(extra.key.clone(), extra.value.clone());
    }
    if inputs.platform_api.at_least(15) && !inputs.exec_env.is_empty() {
        run.labels
            .insert(labels::EXEC_ENV.to_owned(), inputs.exec_env.to_owned());
    }
    Ok(image)
}

/// One entry per layer, the base's first. Platforms before 0.12 expect entries that say nothing but the time; a
/// base whose history does not fit its layers gets such entries too.
fn history(
    inputs: &Inputs<'_>,
    base: &ImageConfig,
    layers: &Layers<'_>,
    created: &str,
) -> Vec<History> {
    let count = base.rootfs.diff_ids.len();
    let mut history: Vec<History> = base
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .cloned()
        .collect();
    if history.len() != count {
        history = vec![History::default(); count];
    }
    history.extend(layers.created_by.iter().map(|created_by| History {
        created_by: Some(created_by.clone()),
        ..History::default()
    }));
    if !inputs.platform_api.at_least(12) {
        history.fill(History::default());
    }
    for entry in &mut history {
        entry.created = Some(created.to_owned());
    }
    history
}

/// An instant as `YYYY-MM-DDThh:mm:ssZ`; `None` outside of the years 0 to 9999.
pub(super) fn rfc_3339(seconds: i64) -> Option<String> {
    const DAY: i64 = 86_400;
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Days are counted in eras of 400 years, which begin on a 1 March, so that leap days come last
    // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let since_march_of_year_0 = days.checked_add(719_468)?;
    let era = since_march_of_year_0.div_euclid(146_097);
    let day_of_era = since_march_of_year_0.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (0..=9999).contains(&year).then(|| {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_dates() {
        for (seconds, expected) in [
            (oci_image::NORMALIZED_MTIME, Some("1980-01-01T00:00:01Z")),
            (0, Some("1970-01-01T00:00:00Z")),
            (-1, Some("1969-12-31T23:59:59Z")),
            (951_782_400, Some("2000-02-29T00:00:00Z")),
            (1_709_164_799, Some("2024-02-28T23:59:59Z")),
            (1_709_251_200, Some("2024-03-01T00:00:00Z")),
            (253_402_300_799, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(rfc_3339(seconds).as_deref(), expected, "{seconds}");
        }
    }
}
