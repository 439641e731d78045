//! Buildpacks on disk: folders, and what was unpacked of archives and images.

use crate::failure::{Exit, Failure, OrFail};
use cnb_spec::buildpack::Buildpack;
use cnb_spec::group::GroupElement;
use cnb_spec::names::escape_id;
use std::fs;
use std::path::{Path, PathBuf};

/// A buildpack and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    pub(crate) element: GroupElement,
    pub(crate) buildpack: Buildpack,
}

/// What one [`super::locator::Locator`] stands for.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    /// What the order names.
    pub(crate) main: GroupElement,
    /// It, and what it is made of.
    pub(crate) modules: Vec<Module>,
    /// What tells that it is the same one as before.
    pub(crate) identity: Identity,
}

/// See [`Package::identity`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Folders of the user's, which are looked at each time.
    pub(crate) folders: Vec<PathBuf>,
    /// Folders of the store, whose content never changes.
    pub(crate) fixed: Vec<PathBuf>,
}

impl Module {
    /// The buildpack in a folder. Its descriptor and its folder must be what they seem: a package may come from
    /// anybody, and links would be followed outside of the sandbox.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let file = folder.join("buildpack.toml");
        let reading = || format!("cannot use the buildpack {}", folder.display());
        let meta = fs::symlink_metadata(&file)
            .or_fail(Exit::Input, reading)
            .map_err(|failure| failure.hint("a buildpack is a folder with a buildpack.toml"))?;
        if !meta.is_file() {
            return Err(Failure::new(
                Exit::Input,
                format!("{} is no ordinary file", file.display()),
            ));
        }
        let buildpack = Buildpack::read(folder).or_fail(Exit::Input, reading)?;
        let (id, version) = (buildpack.info.id.as_str(), &buildpack.info.version);
        let is_name = !version.is_empty()
            && version.len() <= 128
            && version
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte))
            && version.bytes().any(|byte| byte != b'.');
        if !is_name {
            return Err(Failure::new(
                Exit::Input,
                format!("{} has the version {version:?}", file.display()),
            )
            .hint("give buildpack.version numbers like \"1.2.3\""));
        }
        Ok(Self {
            element: GroupElement::new(id, version.as_str()),
            buildpack,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.buildpack.dir
    }

    /// Where it is below the buildpacks folder (Platform API, "Buildpacks Directory Layout").
    pub(crate) fn place(&self) -> String {
        place(&self.element)
    }

    /// A component needs both of its programs. Said here, by name, and not by the kernel in the middle of a build.
    pub(crate) fn check_programs(&self) -> Result<(), Failure> {
        use std::os::unix::fs::PermissionsExt;
        if self.buildpack.is_composite() {
            return Ok(());
        }
        for program in ["bin/detect", "bin/build"] {
            let path = self.folder().join(program);
            let problem = match fs::metadata(&path) {
                Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => continue,
                Ok(meta) if meta.is_file() => format!("{program} is not executable"),
                Ok(_) => format!("{program} is no file"),
                // A link may lead to where only the sandbox has something.
                Err(_) if fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink()) => {
                    continue;
                }
                Err(_) => format!("it has no {program}"),
            };
            return Err(Failure::new(
                Exit::Input,
                format!(
                    "the buildpack {} in {} cannot run: {problem}",
                    self.element,
                    self.folder().display()
                ),
            )
            .hint("a buildpack has executable programs bin/detect and bin/build"));
        }
        Ok(())
    }
}

/// See [`Module::place`].
pub(crate) fn place(element: &GroupElement) -> String {
    format!("{}/{}", escape_id(&element.id), element.version)
}

/// The buildpacks of a folder that is laid out as `<escaped id>/<version>`.
pub(crate) fn in_buildpacks_folder(folder: &Path) -> Result<Vec<Module>, Failure> {
    let mut modules = Vec::new();
    for by_id in real_folders(folder)? {
        for by_version in real_folders(&by_id)? {
            let module = Module::read(&by_version)?;
            if folder.join(module.place()) != by_version {
                return Err(Failure::new(
                    Exit::Input,
                    format!(
                        "{} says that it is {}",
                        by_version.join("buildpack.toml").display(),
                        module.element
                    ),
                )
                .hint("get the package from somewhere else: this one contradicts itself"));
            }
            modules.push(module);
        }
    }
    Ok(modules)
}

/// The folders in a folder, links left out, sorted.
fn real_folders(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listing = || format!("cannot list {}", folder.display());
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).or_fail(Exit::Store, listing)? {
        let entry = entry.or_fail(Exit::Store, listing)?;
        if entry.file_type().or_fail(Exit::Store, listing)?.is_dir() {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// Every buildpack that a composite one is made of has to be there: in its package, in the builder or slugc's own.
pub(crate) fn check_orders(
    modules: &[Module],
    has: impl Fn(&GroupElement) -> bool,
) -> Result<(), Failure> {
    for module in modules {
        for element in module.buildpack.order.iter().flat_map(|group| &group.group) {
            let there = modules.iter().any(|other| {
                other.element.id == element.id && other.element.version == element.version
            }) || has(element);
            if !there {
                return Err(Failure::new(
                    Exit::Input,
                    format!(
                        "the composite buildpack {} is made of {element}, which is not there",
                        module.element
                    ),
                )
                .hint(
                    "name it with --buildpack too, put it into package.toml's dependencies, or use a package that has it",
                ));
            }
        }
    }
    Ok(())
}
