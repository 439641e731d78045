//! Analysis: what is known of the run image and of the image of the last build (Platform API, "analyzer").

use crate::log::Logger;
use cnb_spec::analyzed::{self, Analyzed, ImageReference};
use cnb_spec::labels::{self, LayersMetadata};
use cnb_spec::target::{Distro, Target};
use oci_image::Image;

/// What analysis needs.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The base of the image to be.
    pub run_image: &'a Image,
    /// A digest reference or an ID of it.
    pub run_image_reference: &'a str,
    /// What the platform calls it.
    pub run_image_name: Option<&'a str>,
    /// The image of the last build and its reference, when there is one.
    pub previous: Option<(&'a Image, &'a str)>,
    /// Where lines go.
    pub log: Logger<'a>,
}

/// What analysis found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Analysis {
    /// For `analyzed.toml`.
    pub analyzed: Analyzed,
    /// The layers of the previous image; `None` without one, or when no lifecycle made it.
    pub previous_layers: Option<LayersMetadata>,
}

/// Looks at both images. A previous image with a broken label counts as none: at worst layers are made again.
pub fn analyze(inputs: &Inputs<'_>) -> Analysis {
    let previous_layers = inputs.previous.and_then(|(image, reference)| {
        let label = image.config.config.labels.get(labels::LIFECYCLE_METADATA)?;
        serde_json::from_str(label)
            .inspect_err(|error| {
                inputs.log.warn(format_args!(
                    "ignoring the previous image {reference}: its label {} is broken: {error}",
                    labels::LIFECYCLE_METADATA
                ));
            })
            .ok()
    });
    Analysis {
        analyzed: Analyzed {
            previous_image: inputs.previous.map(|(_, reference)| ImageReference {
                reference: reference.to_owned(),
            }),
            build_image: None,
            metadata: None,
            run_image: Some(analyzed::RunImage {
                reference: inputs.run_image_reference.to_owned(),
                image: inputs.run_image_name.map(str::to_owned),
                extend: false,
                target: Some(target(inputs.run_image)),
            }),
        },
        previous_layers,
    }
}

/// The target that a base image says it is for.
pub fn target(image: &Image) -> Target {
    let config = &image.config;
    let label = |name: &str| config.config.labels.get(name).cloned();
    let (name, version) = (
        label(labels::BASE_DISTRO_NAME),
        label(labels::BASE_DISTRO_VERSION),
    );
    Target {
        id: label(labels::BASE_ID),
        os: config.os.clone(),
        arch: config.architecture.clone(),
        variant: config.variant.clone().filter(|variant| !variant.is_empty()),
        distro: (name.is_some() || version.is_some()).then(|| Distro {
            name: name.unwrap_or_default(),
            version: version.unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;
    use std::sync::Mutex;

    #[test]
    fn images_tell_target_and_layers() {
        let mut run = Image::empty("linux", "arm64");
        run.config.variant = Some("v8".into());
        let labels = &mut run.config.config.labels;
        labels.insert(labels::BASE_DISTRO_NAME.into(), "debian".into());
        let mut previous = Image::empty("linux", "arm64");
        let lines = Mutex::new(Vec::new());
        let sink = |level: Level, line: &str| {
            if let Ok(mut lines) = lines.lock() {
                lines.push((level, line.to_owned()));
            }
        };
        let analyze = |previous: Option<&Image>| {
            super::analyze(&Inputs {
                run_image: &run,
                run_image_reference: "sha256:run",
                run_image_name: Some("slug-13"),
                previous: previous.map(|image| (image, "sha256:previous")),
                log: Logger::new(&sink),
            })
        };
        let found = analyze(None);
        let target = found.analyzed.run_target();
        assert_eq!(
            (target.arch.as_str(), target.variant.as_deref()),
            ("arm64", Some("v8"))
        );
        assert_eq!(
            target.distro.map(|distro| distro.name).as_deref(),
            Some("debian")
        );
        assert_eq!(found.previous_layers, None);

        previous.config.config.labels.insert(
            labels::LIFECYCLE_METADATA.into(),
            r#"{"buildpacks":null}"#.into(),
        );
        assert_eq!(
            analyze(Some(&previous)).previous_layers,
            Some(LayersMetadata::default())
        );
        assert_eq!(lines.lock().map(|lines| lines.len()).ok(), Some(0));

        previous
            .config
            .config
            .labels
            .insert(labels::LIFECYCLE_METADATA.into(), "{".into());
        assert_eq!(analyze(Some(&previous)).previous_layers, None);
        let lines = lines.lock().map(|lines| lines.clone()).unwrap_or_default();
        assert!(
            lines.len() == 1 && lines[0].0 == Level::Warn && lines[0].1.contains("sha256:previous")
        );
    }
}
