//! What the last `collectstatic` added to the app, and what it depended on: cache layer.
//!
//! Starting Django costs more than most static files do. While nothing that a run read has changed, its
//! result is put back instead. What counts as read, whether it was or not: every name and mode in the app,
//! the content of every file but Python modules that nothing opened, the environment, the installed
//! packages, the stack's packages. A run that did what can't be followed (processes, network, files
//! elsewhere, changes to files of the app) is not remembered.

use crate::app_files::{self, Listing};
use crate::{BuildpackError, PythonBuildpack};
use libcnb::build::BuildContext;
use libcnb::data::layer_name;
use libcnb::layer::{
    CachedLayerDefinition, InvalidMetadataAction, LayerRef, LayerState, RestoredLayerAction,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Raised when what counts as an input changes.
const LAYOUT: &str = "1";

/// The result of the last run could not be put back, or a new one not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StaticFilesError {
    #[error("could not look at the files in {}", folder.display())]
    Look {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not put the static files of the last build back into {}", folder.display())]
    PutBack {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not keep the static files in {}", folder.display())]
    Keep {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Metadata {
    /// No number: the upstream lifecycle keeps metadata as JSON and gives whole numbers back as fractions.
    layout: String,
    /// A digest of everything but the app's files.
    circumstances: String,
    /// A digest of the app's files, as far as they count.
    app: String,
    /// The app's modules that were read.
    modules: Vec<String>,
}

/// The files of an app before a run.
pub(crate) struct Before {
    app_dir: PathBuf,
    listing: Listing,
    circumstances: String,
    layer: LayerRef<PythonBuildpack, (), bool>,
}

/// Puts the result of the last run back, if a run now would give the same: then there is no `Before`.
pub(crate) fn put_back(
    context: &BuildContext<PythonBuildpack>,
    circumstances: String,
) -> libcnb::Result<Option<Before>, BuildpackError> {
    let app_dir = context.app_dir.clone();
    let listing = Listing::of(&app_dir).map_err(|source| {
        BuildpackError::StaticFiles(StaticFilesError::Look {
            folder: app_dir.clone(),
            source,
        })
    })?;
    let layer = context.cached_layer(
        layer_name!("static-files"),
        CachedLayerDefinition {
            build: false,
            launch: false,
            invalid_metadata_action: &|_| InvalidMetadataAction::DeleteLayer,
            restored_layer_action: &|cached: &Metadata, _| {
                if cached.circumstances == circumstances && stands(cached, &app_dir, &listing) {
                    (RestoredLayerAction::KeepLayer, true)
                } else {
                    (RestoredLayerAction::DeleteLayer, false)
                }
            },
        },
    )?;
    if !matches!(layer.state, LayerState::Restored { cause: true }) {
        return Ok(Some(Before {
            app_dir,
            listing,
            circumstances,
            layer,
        }));
    }
    let kept = files(&layer.path());
    if kept.is_dir() {
        app_files::copy_all(&kept, &app_dir).map_err(|source| {
            BuildpackError::StaticFiles(StaticFilesError::PutBack {
                folder: app_dir,
                source,
            })
        })?;
    }
    Ok(None)
}

/// Whether the app is what the run found. What can't be read is not.
fn stands(cached: &Metadata, app_dir: &Path, now: &Listing) -> bool {
    let counts = |path: &Path| counts(path, &cached.modules);
    cached.layout == LAYOUT
        && now
            .contents(app_dir, counts)
            .is_ok_and(|contents| now.digest(&contents, counts) == cached.app)
}

/// Whether a file's content is an input. Reads of anything but modules need not have been noticed.
fn counts(path: &Path, modules: &[String]) -> bool {
    path.extension().is_none_or(|extension| extension != "py")
        || modules.iter().any(|module| path == Path::new(module))
}

fn files(layer: &Path) -> PathBuf {
    layer.join("files")
}

impl Before {
    /// Runs what collects the files, which gets the path of the file that names the modules it read, and
    /// keeps the result if it can be put back.
    pub(crate) fn run<E>(
        self,
        collect: impl FnOnce(&Path) -> Result<(), E>,
    ) -> libcnb::Result<Result<(), E>, BuildpackError> {
        let folder = self.layer.path();
        let trace = folder.join("trace");
        // The files are hashed while Python starts; one that changes meanwhile shows in its times.
        let (result, contents) = std::thread::scope(|scope| {
            let contents = scope.spawn(|| self.listing.contents(&self.app_dir, |_| true));
            (collect(&trace), contents.join())
        });
        let failed = |source| {
            BuildpackError::StaticFiles(StaticFilesError::Keep {
                folder: folder.clone(),
                source,
            })
        };
        if let (Ok(()), Ok(Ok(contents))) = (&result, contents)
            && let Some(modules) = read_trace(&trace).map_err(failed)?
            && let Ok(after) = Listing::of(&self.app_dir)
            && let Some(added) = after.added(&self.listing)
        {
            if !added.is_empty() {
                app_files::copy(&self.app_dir, &files(&folder), &added).map_err(failed)?;
            }
            crate::files::remove_if_there(&trace).map_err(failed)?;
            let app = self
                .listing
                .digest(&contents, |path| counts(path, &modules));
            self.layer.write_metadata(Metadata {
                layout: LAYOUT.to_owned(),
                circumstances: self.circumstances,
                app,
                modules,
            })?;
        } else {
            crate::files::remove_if_there(&trace).map_err(failed)?;
        }
        Ok(result)
    }
}

/// The modules that were read; nothing when the run can't be remembered.
fn read_trace(trace: &Path) -> io::Result<Option<Vec<String>>> {
    let text = crate::files::read_if_text(trace)?;
    Ok(text.map(|text| {
        text.split('\0')
            .filter(|module| !module.is_empty())
            .map(str::to_owned)
            .collect()
    }))
}
