//! Files that no package may have: outside of the environment, or those that make it one.

use crate::files::without_detours;
use std::ffi::OsStr;
use std::path::Path;

/// A package that claims such a file.
#[derive(Debug, thiserror::Error)]
#[error("{package} has the file {file}")]
pub(crate) struct Intruder {
    /// The name of its `.dist-info` folder.
    pub(crate) package: String,
    pub(crate) file: String,
    pub(crate) place: Place,
}

/// What is wrong with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is not in the environment.
    Outside,
    /// The environment's Python, its settings, or what a layer tells the platform (Buildpack specification, "Layers").
    OfEnvironment,
}

/// In the environment's own folder; what is in them changes how the app is started.
const OF_LAYER: [&str; 6] = [
    "env",
    "env.build",
    "env.launch",
    "exec.d",
    "profile.d",
    "pyvenv.cfg",
];

/// The first of a package's files that it may not have.
pub(super) fn first(site_packages: &Path, package: &OsStr, files: &[String]) -> Option<Intruder> {
    // `lib/python3.13/site-packages`
    let root = site_packages.ancestors().nth(3)?;
    files.iter().find_map(|file| {
        // Nearly all of them are simply below.
        if !file.starts_with(['.', '/']) && !file.contains("/../") {
            return None;
        }
        Some(Intruder {
            package: package.to_string_lossy().into_owned(),
            file: file.clone(),
            place: wrong(root, &without_detours(&site_packages.join(file)))?,
        })
    })
}

fn wrong(root: &Path, place: &Path) -> Option<Place> {
    let Ok(inside) = place.strip_prefix(root) else {
        return Some(Place::Outside);
    };
    let mut components = inside.components();
    let first = components.next()?.as_os_str().to_str()?;
    let rest = components.as_path().to_str()?;
    let is_python = first == "bin"
        && rest.strip_prefix("python").is_some_and(|version| {
            version
                .trim_end_matches('t')
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
        });
    (is_python || OF_LAYER.contains(&first)).then_some(Place::OfEnvironment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let site = Path::new("/layers/venv/lib/python3.13/site-packages");
        for (file, expected) in [
            ("a/b.py", None),
            ("./a.py", None),
            (".hidden", None),
            ("../../../bin/gunicorn", None),
            ("../../../bin/python-argcomplete", None),
            ("../../../share/man/x", None),
            ("/layers/venv/bin/x", None),
            ("../../../bin/python", Some(Place::OfEnvironment)),
            ("../../../bin/python3.13t", Some(Place::OfEnvironment)),
            ("../../../pyvenv.cfg", Some(Place::OfEnvironment)),
            (
                "a/../../../../env.launch/X.override",
                Some(Place::OfEnvironment),
            ),
            ("../../../../python/bin/x", Some(Place::Outside)),
            ("/etc/passwd", Some(Place::Outside)),
            (
                "../../../../../../../../../etc/passwd",
                Some(Place::Outside),
            ),
        ] {
            let found = first(site, OsStr::new("p"), &[file.to_owned()]);
            assert_eq!(found.map(|found| found.place), expected, "{file}");
        }
    }
}
