//! SBOM files of buildpacks: found in their layers folders, checked, gathered under `<layers>/sbom`.

use super::BuildError;
use crate::layers_dir;
use cnb_spec::api::ApiVersion;
use cnb_spec::buildpack::Buildpack;
use cnb_spec::layer::LayerTypes;
use cnb_spec::names::escape_id;
use cnb_spec::sbom::{SbomFile, SbomFormat};
use cnb_spec::toml_file;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file that a buildpack wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sbom {
    from: PathBuf,
    /// Below `<layers>/sbom`.
    to: PathBuf,
}

/// The SBOM files in the layers folder `dir` of `buildpack`; those of layers without a toml file are no output.
pub(super) fn find(
    buildpack: &Buildpack,
    name: &str,
    dir: &Path,
    layers: &BTreeMap<String, LayerTypes>,
) -> Result<Vec<Sbom>, BuildError> {
    let mut found = Vec::new();
    for (file_name, is_dir) in layers_dir::entries(dir)? {
        let Some(file) = SbomFile::parse(&file_name).filter(|_| !is_dir) else {
            continue;
        };
        let (kind, layer) = match (file.layer, layers.get(file.layer)) {
            (kind @ ("launch" | "build"), _) => (kind, None),
            (layer, Some(LayerTypes { launch: true, .. })) => ("launch", Some(layer)),
            (layer, Some(_)) => ("build", Some(layer)),
            (_, None) => continue,
        };
        // A cached layer comes back with its files.
        let is_cached = layer.is_some_and(|layer| layers[layer].cache);
        let from = dir.join(&file_name);
        let refuse = |problem| BuildError::Sbom {
            buildpack: name.to_owned(),
            path: dir.join(&file_name),
            problem,
        };
        let format = file.format.ok_or_else(|| {
            refuse(
                "which is none of the formats *.sbom.cdx.json, *.sbom.spdx.json, *.sbom.syft.json",
            )
        })?;
        if !format.is_declared(&buildpack.info.sbom_formats) {
            return Err(refuse(undeclared(format)));
        }
        for kind in std::iter::once(kind).chain(is_cached.then_some("cache")) {
            let mut to = Path::new(kind).join(escape_id(buildpack.info.id.as_str()));
            to.extend(layer);
            to.push(format.file_name());
            let from = from.clone();
            found.push(Sbom { from, to });
        }
    }
    Ok(found)
}

fn undeclared(format: SbomFormat) -> &'static str {
    match format {
        SbomFormat::CycloneDx => "but its sbom-formats do not list application/vnd.cyclonedx+json",
        SbomFormat::Spdx => "but its sbom-formats do not list application/spdx+json",
        SbomFormat::Syft => "but its sbom-formats do not list application/vnd.syft+json",
    }
}

/// Copies all of them to `<layers>/sbom`, which is empty before.
pub(super) fn gather(
    layers_dir: &Path,
    sboms: &[Sbom],
    platform: ApiVersion,
) -> Result<(), BuildError> {
    let root = layers_dir.join("sbom");
    for Sbom { from, to } in sboms {
        let to = root.join(to);
        let parent = to.parent().unwrap_or(&root);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::copy(from, &to))
            .map_err(|source| BuildError::CopySbom {
                from: from.clone(),
                to: to.clone(),
                source,
            })?;
    }
    // The bill of materials that came before SBOM files. Nobody fills it any more, but the reference lifecycle
    // writes it still, and equal images need equal layers.
    if platform.at_least(9) {
        for kind in ["launch", "build"] {
            let path = root.join(kind).join("sbom.legacy.json");
            toml_file::write_text(&path, "null\n").map_err(BuildError::Write)?;
        }
    }
    Ok(())
}
