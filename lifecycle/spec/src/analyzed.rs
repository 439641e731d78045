//! `analyzed.toml`, what analysis found out about images (Platform API).

use crate::json;
use crate::labels::LayersMetadata;
use crate::target::Target;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Keys of the previous image's metadata that JSON labels and TOML files write differently.
const LABEL_AND_FILE: [(&str, &str); 2] = [("runImage", "run-image"), ("topLayer", "top-layer")];

/// `analyzed.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Analyzed {
    /// The previous image.
    #[serde(default, rename = "image", skip_serializing_if = "Option::is_none")]
    pub previous_image: Option<ImageReference>,
    /// The build image.
    #[serde(
        default,
        rename = "build-image",
        skip_serializing_if = "Option::is_none"
    )]
    pub build_image: Option<ImageReference>,
    /// The run image.
    #[serde(default, rename = "run-image", skip_serializing_if = "Option::is_none")]
    pub run_image: Option<RunImage>,
    /// The previous image's layers, for the phases that follow; see [`Analyzed::layers`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<toml::Table>,
}

/// An image by reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReference {
    /// A digest reference, an image ID or a path.
    #[serde(default)]
    pub reference: String,
}

/// The run image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunImage {
    /// A digest reference, an image ID or a path.
    #[serde(default)]
    pub reference: String,
    /// What the platform called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether image extensions change it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extend: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

impl Analyzed {
    /// The run image's target; empty when the file does not tell.
    pub fn run_target(&self) -> Target {
        self.run_image
            .as_ref()
            .and_then(|image| image.target.clone())
            .unwrap_or_default()
    }

    /// The previous image's layers; none when the file has none, or has something else there.
    pub fn layers(&self) -> LayersMetadata {
        let table = self.metadata.as_ref().map(json::of_table);
        table
            .map(|table| rename(table, |(label, file)| (file, label)))
            .map(|table| rename_data(table, "metadata", "data"))
            .and_then(|table| serde_json::from_value(table).ok())
            .unwrap_or_default()
    }

    /// Sets what [`Analyzed::layers`] returns.
    pub fn set_layers(&mut self, layers: &LayersMetadata) -> Result<(), serde_json::Error> {
        let table = rename(serde_json::to_value(layers)?, |names| names);
        let table = rename_data(table, "data", "metadata");
        self.metadata = table.as_object().map(json::to_table);
        Ok(())
    }
}

/// Renames keys of [`LABEL_AND_FILE`] at the top, and in what stands below them and `stack`. Other keys are names of
/// buildpacks' own.
fn rename(
    value: Value,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) -> Value {
    let Value::Object(entries) = value else {
        return value;
    };
    let renamed = entries.into_iter().map(|(key, value)| {
        let new = LABEL_AND_FILE
            .into_iter()
            .map(direction)
            .find(|(from, _)| *from == key);
        match new {
            Some((_, to)) => (to.to_owned(), rename(value, direction)),
            None if key == "stack" => (key, rename(value, direction)),
            None => (key, value),
        }
    });
    Value::Object(renamed.collect::<Map<_, _>>())
}

/// Renames what a layer's own data are called: `data` in labels, `metadata` in files.
fn rename_data(mut value: Value, from: &str, to: &str) -> Value {
    let buildpacks = value.get_mut("buildpacks").and_then(Value::as_array_mut);
    for buildpack in buildpacks.into_iter().flatten() {
        let layers = buildpack.get_mut("layers").and_then(Value::as_object_mut);
        for layer in layers.into_iter().flat_map(Map::values_mut) {
            if let Some(layer) = layer.as_object_mut()
                && let Some(data) = layer.remove(from)
            {
                layer.insert(to.to_owned(), data);
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn layers_survive_the_way_through_the_file() {
        let label = r#"{"app":[{"sha":"sha256:a"}],"sbom":{"sha":"sha256:s"},"buildpacks":[{"key":"x/y","version":"1",
            "layers":{"runImage":{"sha":"sha256:l","data":{"topLayer":[1,2.5,"t"]},"build":true,"launch":true,"cache":false},
            "bare":{"sha":"sha256:b","data":null,"build":false,"launch":true,"cache":true}},
            "store":{"metadata":{"k":"v"}}}],"config":{"sha":"sha256:c"},"launcher":{"sha":"sha256:d"},
            "process-types":{"sha":"sha256:p"},"runImage":{"topLayer":"sha256:t","reference":"r@sha256:0","image":"r"}}"#;
        // A layer may have any name, also that of a key.
        let layers: LayersMetadata = serde_json::from_str(label).unwrap();
        let mut analyzed = Analyzed::default();
        analyzed.set_layers(&layers).unwrap();
        let text = toml::to_string(&analyzed).unwrap();
        assert!(text.contains("[metadata.run-image]\n"), "{text}");
        assert!(text.contains("top-layer = \"sha256:t\""), "{text}");
        let read: Analyzed = toml::from_str(&text).unwrap();
        assert_eq!(read.layers(), layers);
        let bare: Analyzed = toml::from_str("[image]\nreference = \"x\"\n").unwrap();
        assert_eq!(bare.layers(), LayersMetadata::default());
    }
}
