//! Packages unpacked into a layer, and made to work in a place that they were not made for. No script of theirs runs.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

/// A package could not be unpacked, or not be made to fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("the build image has no dpkg-deb")]
    Missing(#[source] io::Error),
    #[error("could not unpack {package}")]
    Package { package: String, output: String },
    #[error("could not change {}", path.display())]
    Change {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What no app reads, relative to the layer.
const USELESS: [&str; 6] = [
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/man",
    "var",
];

/// Files of settings that name places below `/usr`, by the ends of their paths.
const SETTINGS: [(&str, &str); 3] = [
    (".pc", "pkgconfig"),
    ("fonts.conf", "fonts"),
    ("loaders.cache", "2.10.0"),
];

/// A package's file unpacked into a folder.
pub(crate) fn unpack(deb: &Path, into: &Path) -> Result<(), UnpackError> {
    let output = Command::new("dpkg-deb")
        .arg("--extract")
        .arg(deb)
        .arg(into)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(UnpackError::Missing)?;
    if output.status.success() {
        return Ok(());
    }
    Err(UnpackError::Package {
        package: deb
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A field of a package's control file; empty if it has none.
pub(crate) fn field(deb: &Path, name: &str) -> Result<String, UnpackError> {
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(deb)
        .arg(name)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .map_err(UnpackError::Missing)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes what was unpacked into a layer fit its place: links that lead from `/` lead into this layer, or `other`, where the
/// file is there; so do settings. What no app reads goes, and nothing is of a higher rank than who runs it.
pub(crate) fn settle(layer: &Path, other: Option<&Path>) -> Result<(), UnpackError> {
    for name in USELESS {
        remove(&layer.join(name))?;
    }
    let layers: Vec<&Path> = [Some(layer), other].into_iter().flatten().collect();
    let mut folders = vec![layer.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let changing = |source| UnpackError::Change {
            path: folder.clone(),
            source,
        };
        let is_doc = folder == layer.join("usr/share/doc");
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(changing)? {
            paths.push(entry.map_err(changing)?.path());
        }
        for path in paths {
            let changing = |source| UnpackError::Change {
                path: path.clone(),
                source,
            };
            let metadata = fs::symlink_metadata(&path).map_err(changing)?;
            if is_doc && metadata.is_dir() {
                keep_copyright(&path).map_err(changing)?;
            }
            if metadata.is_symlink() {
                if let Some(target) = better_target(&path, &layers) {
                    fs::remove_file(&path).map_err(changing)?;
                    symlink(target, &path).map_err(changing)?;
                }
            } else if metadata.is_dir() {
                set_mode(&path, metadata.permissions().mode() & 0o777 | 0o700).map_err(changing)?;
                folders.push(path);
            } else if metadata.is_file() {
                set_mode(&path, metadata.permissions().mode() & 0o777 | 0o400).map_err(changing)?;
                if is_setting(&path) {
                    relocate(&path, layer).map_err(changing)?;
                }
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), UnpackError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(UnpackError::Change {
            path: path.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Of a package's documentation its licence stays.
fn keep_copyright(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == "copyright" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Where a link has to lead instead: to the same file in a layer if it leads from `/`, to the system's if the file is not in
/// the layer. `None` if it is right as it is, or right nowhere.
fn better_target(link: &Path, layers: &[&Path]) -> Option<PathBuf> {
    let layer = *layers.first()?;
    let target = fs::read_link(link).ok()?;
    // As it would be if the layer were the root of the file system.
    let inside = if target.is_absolute() {
        plain(&target)
    } else {
        let folder = link.parent()?.strip_prefix(layer).ok()?;
        plain(&Path::new("/").join(folder).join(&target))
    };
    let is_there = |root: &Path| fs::symlink_metadata(root.join(&inside)).is_ok();
    if is_there(layer) {
        return target.is_absolute().then(|| layer.join(&inside));
    }
    let elsewhere = layers[1..].iter().find(|root| is_there(root));
    elsewhere
        .map(|root| root.join(&inside))
        .or_else(|| is_there(Path::new("/")).then(|| Path::new("/").join(&inside)))
        .filter(|better| *better != target)
}

/// A path from `/` without detours, relative to it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

fn is_setting(path: &Path) -> bool {
    let text = path.to_string_lossy();
    SETTINGS.iter().any(|(end, folder)| {
        text.ends_with(end)
            && path
                .parent()
                .and_then(Path::file_name)
                .is_some_and(|name| name == *folder)
    })
}

/// Puts the layer's place in front of paths below `/usr`.
fn relocate(path: &Path, layer: &Path) -> io::Result<()> {
    let Ok(text) = fs::read_to_string(path) else {
        // No text, no settings.
        return Ok(());
    };
    let Some(place) = layer.to_str() else {
        return Ok(());
    };
    let mut moved = text.clone();
    for before in ["=", ">", "\"", "-I", "-L"] {
        moved = moved.replace(&format!("{before}/usr"), &format!("{before}{place}/usr"));
    }
    if moved != text {
        // The file may be a hard link of another.
        let staged = path.with_extension("new");
        fs::write(&staged, moved)?;
        set_mode(&staged, fs::metadata(path)?.permissions().mode())?;
        fs::rename(&staged, path)?;
    }
    Ok(())
}

/// Folders in a layer, relative to it, that hold libraries which programs look for by name.
pub(crate) fn library_folders(layer: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    for top in ["usr/lib", "lib"] {
        found.insert(PathBuf::from(top));
        for folder in subfolders(layer, Path::new(top)) {
            let is_triplet = folder.to_string_lossy().ends_with("-linux-gnu");
            if is_triplet {
                // Of libraries with alternatives (BLAS), each is in a folder of its own, and scripts that do not run here
                // choose one.
                found.extend(
                    subfolders(layer, &folder)
                        .into_iter()
                        .filter(|inner| has_libraries(&layer.join(inner))),
                );
                found.insert(folder);
            }
        }
    }
    let mut folders: Vec<PathBuf> = found
        .into_iter()
        .filter(|folder| layer.join(folder).is_dir())
        .collect();
    // Those of all programs come before those of some.
    folders.sort_by_key(|folder| (folder.components().count() > 3, folder.clone()));
    folders
}

fn subfolders(layer: &Path, folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(layer.join(folder));
    let mut names: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| folder.join(entry.file_name()))
        .collect();
    names.sort();
    names
}

/// Whether there are files called as linkers call libraries: `libx.so.1`.
fn has_libraries(folder: &Path) -> bool {
    let entries = fs::read_dir(folder);
    entries.into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("lib") && name.contains(".so.")
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn links_and_settings_fit_their_place() {
        let scratch = tempfile::tempdir().unwrap();
        let (layer, other) = (scratch.path().join("a"), scratch.path().join("b"));
        let libs = "usr/lib/x86_64-linux-gnu";
        write(&layer, &format!("{libs}/libx.so.1"), "");
        write(&layer, &format!("{libs}/blas/libblas.so.3"), "");
        write(&layer, &format!("{libs}/plugins/x.so"), "");
        write(&layer, "usr/bin/tool", "");
        set_mode(&layer.join("usr/bin/tool"), 0o6755).unwrap();
        write(&layer, "usr/share/man/man1/tool.1", "");
        write(&layer, "usr/share/doc/tool/copyright", "MIT");
        write(&layer, "usr/share/doc/tool/changelog.gz", "");
        write(
            &layer,
            &format!("{libs}/pkgconfig/x.pc"),
            "prefix=/usr\nCflags: -I${prefix}/include -I/usr/include/x\n",
        );
        write(&other, &format!("{libs}/libfar.so.2"), "");
        let link = |target: &str, name: &str| symlink(target, layer.join(libs).join(name)).unwrap();
        link("libx.so.1", "libx.so");
        link("/usr/lib/x86_64-linux-gnu/libx.so.1", "absolute.so");
        link("libfar.so.2", "libfar.so");
        link("../../../usr/../etc/passwd", "system");
        link("/nowhere", "nowhere");
        settle(&layer, Some(&other)).unwrap();
        let target = |name: &str| fs::read_link(layer.join(libs).join(name)).unwrap();
        assert_eq!(target("libx.so"), Path::new("libx.so.1"));
        assert_eq!(target("absolute.so"), layer.join(libs).join("libx.so.1"));
        assert_eq!(target("libfar.so"), other.join(libs).join("libfar.so.2"));
        assert_eq!(target("system"), Path::new("/etc/passwd"));
        assert_eq!(target("nowhere"), Path::new("/nowhere"));
        let mode = |path: &str| fs::metadata(layer.join(path)).unwrap().permissions().mode();
        assert_eq!(mode("usr/bin/tool") & 0o7777, 0o755);
        assert!(!layer.join("usr/share/man").exists());
        assert!(!layer.join("usr/share/doc/tool/changelog.gz").exists());
        assert!(layer.join("usr/share/doc/tool/copyright").exists());
        let place = layer.display();
        assert_eq!(
            fs::read_to_string(layer.join(libs).join("pkgconfig/x.pc")).unwrap(),
            format!("prefix={place}/usr\nCflags: -I${{prefix}}/include -I{place}/usr/include/x\n")
        );
        assert_eq!(
            library_folders(&layer),
            ["usr/lib", libs, "usr/lib/x86_64-linux-gnu/blas"].map(PathBuf::from)
        );
    }
}
