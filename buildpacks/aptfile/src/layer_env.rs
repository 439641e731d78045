//! Where programs and compilers look for what is in a layer.

use crate::unpack::library_folders;
use libcnb::layer_env::{LayerEnv, ModificationBehavior, Scope};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

const PROGRAMS: [&str; 5] = ["usr/bin", "bin", "usr/sbin", "sbin", "usr/games"];

/// Folders of data, and the variables by which libraries find them where they are not in `/usr`.
const DATA: [(&str, &str); 6] = [
    ("etc/fonts", "FONTCONFIG_PATH"),
    ("etc/ImageMagick-7", "MAGICK_CONFIGURE_PATH"),
    ("usr/share/gdal", "GDAL_DATA"),
    ("usr/share/proj", "PROJ_DATA"),
    ("usr/share/tesseract-ocr/5/tessdata", "TESSDATA_PREFIX"),
    ("usr/share/X11/xkb", "XKB_CONFIG_ROOT"),
];

/// For the app and the buildpacks that follow.
pub(crate) fn of_packages(layer: &Path) -> LayerEnv {
    let libraries: Vec<PathBuf> = library_folders(layer)
        .into_iter()
        .map(|folder| layer.join(folder))
        .collect();
    let mut env = LayerEnv::new();
    env = list(env, Scope::All, "PATH", &there(layer, &PROGRAMS));
    env = list(env, Scope::All, "LD_LIBRARY_PATH", &libraries);
    env = list(env, Scope::All, "PERL5LIB", &perl_folders(layer));
    for (folder, variable) in DATA {
        let folder = layer.join(folder);
        if folder.is_dir() {
            env.insert(Scope::All, ModificationBehavior::Default, variable, folder);
        }
    }
    for_compilers(env, layer)
}

/// For the buildpacks that follow alone.
pub(crate) fn of_headers(layer: &Path) -> LayerEnv {
    let env = list(
        LayerEnv::new(),
        Scope::Build,
        "PATH",
        &there(layer, &PROGRAMS),
    );
    for_compilers(env, layer)
}

fn for_compilers(mut env: LayerEnv, layer: &Path) -> LayerEnv {
    let libraries = library_folders(layer);
    // A folder for each kind of processor: what is in usr/lib/<triplet> has its headers in usr/include/<triplet>.
    let triplets = libraries
        .iter()
        .filter_map(|folder| folder.strip_prefix("usr/lib").ok())
        .filter(|triplet| triplet.components().count() == 1)
        .map(|triplet| Path::new("usr/include").join(triplet));
    let headers: Vec<PathBuf> = triplets
        .chain([PathBuf::from("usr/include")])
        .map(|folder| layer.join(folder))
        .filter(|folder| folder.is_dir())
        .collect();
    let descriptions: Vec<PathBuf> = libraries
        .iter()
        .map(|folder| layer.join(folder).join("pkgconfig"))
        .chain([layer.join("usr/share/pkgconfig")])
        .filter(|folder| folder.is_dir())
        .collect();
    let libraries: Vec<PathBuf> = libraries
        .into_iter()
        .map(|folder| layer.join(folder))
        .collect();
    env = list(env, Scope::Build, "LIBRARY_PATH", &libraries);
    env = list(env, Scope::Build, "CPATH", &headers);
    list(env, Scope::Build, "PKG_CONFIG_PATH", &descriptions)
}

/// Perl looks for modules below `/usr` alone.
fn perl_folders(layer: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let tops = library_folders(layer)
        .into_iter()
        .chain([PathBuf::from("usr/share")]);
    for top in tops {
        folders.extend(there(layer, &[&format!("{}/perl5", top.display())]));
        for kind in ["perl5", "perl"] {
            let entries = std::fs::read_dir(layer.join(&top).join(kind));
            let mut versions: Vec<PathBuf> = entries
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| {
                    entry
                        .file_name()
                        .to_string_lossy()
                        .starts_with(|first: char| first.is_ascii_digit())
                })
                .map(|entry| entry.path())
                .filter(|path| path.is_dir())
                .collect();
            versions.sort();
            folders.extend(versions);
        }
    }
    folders
}

fn there(layer: &Path, folders: &[&str]) -> Vec<PathBuf> {
    folders
        .iter()
        .map(|folder| layer.join(folder))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Puts folders in front of a variable's.
fn list(mut env: LayerEnv, scope: Scope, variable: &str, folders: &[PathBuf]) -> LayerEnv {
    if folders.is_empty() {
        return env;
    }
    let value: Vec<_> = folders.iter().map(|folder| folder.as_os_str()).collect();
    let value = value.join(&OsString::from(":"));
    env.insert(
        scope.clone(),
        ModificationBehavior::Prepend,
        variable,
        value,
    );
    env.insert(scope, ModificationBehavior::Delimiter, variable, ":");
    env
}
