//! The sandbox that buildpack code runs in: the stack, the source, the layers, nothing else.

use crate::app::App;
use crate::build::foundation::Foundation;
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::parts::Parts;
use crate::platform::surroundings::Surroundings;
use crate::source::Copies;
use crate::store;
use cnb_spec::api::ApiVersion;
use cnb_spec::env_vars;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use sandbox::{Mount, Root, Sandbox, Stream, Writable};
use slug_runtime::Binding;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folders of the CNB platform specification as buildpacks see them.
pub(crate) const APP: &str = "/workspace";
pub(crate) const LAYERS: &str = "/layers";
/// The build user's home: empty and writable, whatever the stack has there.
pub(crate) const HOME: &str = "/home/cnb";
pub(crate) const PLATFORM: &str = "/platform";
pub(crate) const BUILDPACKS: &str = "/cnb/buildpacks";
pub(crate) const LIFECYCLE: &str = "/cnb/lifecycle";
pub(crate) const ORDER: &str = "/cnb/order.toml";
/// The newest version that pack and the reference lifecycle agree on.
pub(crate) const PLATFORM_API: ApiVersion = ApiVersion::new(0, 14);
/// Where buildpacks tell which layers they are done with, each as `<buildpack>/<layer>`.
pub(crate) const SEALED: &str = "/slugc/sealed";
/// Where group.toml, plan.toml and analyzed.toml travel between the phases.
pub(crate) const EXCHANGE: &str = "/slugc";

/// The builds' part of an app's trees.
const TREES: &str = "build";

/// What stands behind those folders on the host, for one build.
#[derive(Debug)]
pub(crate) struct Workplace {
    folder: PathBuf,
    layers: PathBuf,
    trees: PathBuf,
}

/// Where phases run: what is the same for all of a build.
pub(crate) struct Scene<'a> {
    pub(crate) stack: &'a Foundation,
    pub(crate) parts: &'a Parts,
    /// Folders on this machine and their places below [`BUILDPACKS`].
    pub(crate) buildpacks: &'a [(PathBuf, String)],
    pub(crate) tools: &'a Path,
    /// Where installs from the wheel store appear.
    pub(crate) wheels: Option<&'a Path>,
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) api: ApiVersion,
}

/// A phase to run inside: its name and its flags.
#[derive(Debug)]
pub(crate) struct Phase<'a> {
    pub(crate) name: &'static str,
    pub(crate) flags: &'a [String],
    pub(crate) quiet: bool,
}

/// The builds' roots as real trees.
pub(crate) fn trees(app: &App) -> PathBuf {
    app.trees().join(TREES)
}

/// Takes back what killed builds left in the app's trees. Comes before anything of its layers is
/// read or removed.
pub(crate) fn recover(app: &App) -> Result<(), Failure> {
    let folder = trees(app);
    sandbox::recover(&folder).or_fail(Exit::Store, || {
        format!(
            "cannot take back what a killed build left in {}",
            folder.display()
        )
    })
}

/// Whether the layers on disk belong to another user than the one that the build is to run as, as after a change of
/// builder. They could not be changed by this one.
pub(crate) fn belongs_to_another(app: &App, stack: &Foundation) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (uid, _) = sandbox::host_ids(stack.uid, stack.gid);
    fs::metadata(app.layers()).is_ok_and(|meta| meta.uid() != uid)
}

impl Workplace {
    /// Makes the folders of a build that starts. The copy of the source that an earlier build left stays, and what it
    /// noted of that is returned.
    pub(crate) fn create(app: &App) -> Result<(Self, Option<Copies>), Failure> {
        let workplace = Self {
            folder: app.work(),
            layers: app.layers(),
            trees: app.trees(),
        };
        let copies = Copies::read(&workplace.copies());
        // Gone from here on, and noted again when nothing of this build runs any more.
        workplace.clear(copies.is_some())?;
        for path in [
            workplace.platform().join("env"),
            workplace.sealed(),
            workplace.home(),
            workplace.root_upper(),
            workplace.root_work(),
        ] {
            fs::create_dir_all(&path)
                .or_fail(Exit::Store, || format!("cannot make {}", path.display()))?;
        }
        make_layers(&workplace.layers).or_fail(Exit::Store, || {
            format!("cannot make {}", workplace.layers.display())
        })?;
        Ok((workplace, copies))
    }

    /// Removes all that is not needed any more: everything, or everything but the copy of the source.
    fn clear(&self, but_for_the_app: bool) -> Result<(), Failure> {
        if !but_for_the_app {
            return store::remove_tree(&self.folder);
        }
        let listing = || format!("cannot list {}", self.folder.display());
        for entry in fs::read_dir(&self.folder).or_fail(Exit::Store, listing)? {
            let entry = entry.or_fail(Exit::Store, listing)?;
            let path = entry.path();
            if path == self.app() {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                store::remove_tree(&path)?;
            } else {
                fs::remove_file(&path)
                    .or_fail(Exit::Store, || format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Ends with the build: the copy of the source stays if `copies` tells what it looked like before the build.
    pub(crate) fn finish(&self, copies: Option<&Copies>) -> Result<(), Failure> {
        self.clear(copies.is_some())?;
        self.note(copies);
        Ok(())
    }

    /// Notes for the next build what the copy of the source looked like before this one. Nothing of the build may run any
    /// more. What cannot be noted costs the next one a copy.
    pub(crate) fn note(&self, copies: Option<&Copies>) {
        if let Some(copies) = copies {
            drop(copies.write(&self.copies()));
        }
    }

    fn copies(&self) -> PathBuf {
        self.folder.join("copies.json")
    }

    pub(crate) fn app(&self) -> PathBuf {
        self.folder.join("workspace")
    }

    pub(crate) fn platform(&self) -> PathBuf {
        self.folder.join("platform")
    }

    pub(crate) fn exchange(&self) -> PathBuf {
        self.folder.join("exchange")
    }

    /// What stands behind [`SEALED`]. Build code may write anything here.
    pub(crate) fn sealed(&self) -> PathBuf {
        self.exchange().join("sealed")
    }

    pub(crate) fn order(&self) -> PathBuf {
        self.folder.join("order.toml")
    }

    /// The layers folder of a sandbox that stocks the wheel store.
    pub(super) fn layers_of_stocking(&self, number: usize) -> PathBuf {
        self.folder.join(format!("stocking-{number}"))
    }

    fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    fn root_upper(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn root_work(&self) -> PathBuf {
        // Where there are no overlays, the tree that stands for one stays for the next build.
        if sandbox::tier().lays_out_trees() {
            self.trees.join(TREES)
        } else {
            self.folder.join("root-work")
        }
    }

    /// Copies service bindings to where the build looks for them.
    pub(crate) fn add_bindings(
        &self,
        stack: &Foundation,
        bindings: &[Binding],
    ) -> Result<(), Failure> {
        if bindings.is_empty() {
            return Ok(());
        }
        let folder = self.platform().join("bindings");
        let owner = sandbox::host_ids(stack.uid, stack.gid);
        slug_runtime::bindings::make_folder(&folder, owner)
            .or_fail(Exit::Store, || format!("cannot make {}", folder.display()))?;
        for binding in bindings {
            binding.copy(&folder, owner).or_fail(Exit::Input, || {
                "cannot give a binding to the build".to_owned()
            })?;
        }
        Ok(())
    }

    /// Gives what the build may write, but for the layers, to the user that it runs as.
    pub(crate) fn hand_over(&self, stack: &Foundation) -> Result<(), Failure> {
        for (path, depth) in [
            (self.app(), usize::MAX),
            (self.exchange(), 1),
            (self.home(), 0),
            (self.root_upper(), 0),
        ] {
            give(stack, &path, depth)?;
        }
        Ok(())
    }

    /// Gives the layers to the user that the build runs as, folders down to a depth.
    pub(crate) fn hand_over_layers(&self, stack: &Foundation, depth: usize) -> Result<(), Failure> {
        give(stack, &self.layers, depth)
    }

    /// Runs a phase of the lifecycle; its exit code.
    pub(crate) fn run(&self, scene: &Scene<'_>, phase: &Phase<'_>) -> Result<u8, Failure> {
        let (stack, surroundings) = (scene.stack, scene.surroundings);
        let mut argv = vec![OsString::from(format!("{LIFECYCLE}/{}", phase.name))];
        argv.extend(phase.flags.iter().map(OsString::from));
        let root = Root {
            lower: stack.lowers.clone(),
            writable: Writable::Dir {
                upper: self.root_upper(),
                work: self.root_work(),
            },
        };
        let mut sandbox = Sandbox::new(root, argv);
        sandbox.uid = stack.uid;
        sandbox.gid = stack.gid;
        "slugc-build".clone_into(&mut sandbox.hostname);
        sandbox.cwd = PathBuf::from(&surroundings.workspace);
        sandbox.network = surroundings.network;
        sandbox.env = environment(scene);
        sandbox.stdin = Stream::Null;
        sandbox.mounts = vec![
            Mount::read_write(self.app(), &surroundings.workspace),
            Mount::read_write(&self.layers, LAYERS),
            Mount::read_only(self.platform(), PLATFORM),
            Mount::read_write(self.exchange(), EXCHANGE),
            Mount::read_write(self.home(), HOME),
            Mount::read_only(self.order(), ORDER),
            Mount::read_only(scene.tools, crate::tools::INSIDE),
        ];
        if let Some(installs) = scene.wheels {
            let offered = Mount::read_only(installs, super::wheels::OFFERED);
            sandbox.mounts.push(offered);
        }
        if stack.lifecycle.is_none() {
            let own = Mount::read_only(scene.parts.lifecycle(), LIFECYCLE);
            sandbox.mounts.push(own);
        }
        for (folder, place) in scene.buildpacks {
            sandbox
                .mounts
                .push(Mount::read_only(folder, Path::new(BUILDPACKS).join(place)));
        }
        sandbox.mounts.extend(host::network_mounts());
        sandbox.mounts.extend(surroundings.volumes.iter().cloned());
        run(sandbox, phase)
    }
}

/// What programs of a build are started with: the build image's variables, and those of the platform, which win. Of a
/// name that is there twice, programs take the first.
pub(super) fn common_environment(stack: &Foundation) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = stack.build_env().into_iter().collect();
    // A builder made for one phase may have it set; without it, the phase's own default counts.
    env.remove(OsStr::new(env_vars::EXEC_ENV));
    for (name, value) in host::proxy_variables() {
        env.insert(name.into(), value.into());
    }
    env
}

/// What a phase is started with.
fn environment(scene: &Scene<'_>) -> Vec<(OsString, OsString)> {
    let mut env = common_environment(scene.stack);
    env.insert(env_vars::PLATFORM_API.into(), scene.api.to_string().into());
    let exec_env = &scene.surroundings.exec_env;
    if exec_env != crate::project::PRODUCTION {
        env.insert(env_vars::EXEC_ENV.into(), exec_env.into());
    }
    env.into_iter().collect()
}

/// Makes the layers folder where there is room for the thousands of files of a build.
///
/// ext4 puts what is made in a folder near it. Where it has no journal it tries, file by file, every inode that was
/// freed in the last minutes and passes it by, so that a build after a removal takes several times as long. A folder
/// whose parent is marked to be spread (chattr's `T`) gets a part of the disk of its own, chosen by its first name.
fn make_layers(layers: &Path) -> std::io::Result<()> {
    if layers.is_dir() {
        return Ok(());
    }
    let parent = layers.parent().unwrap_or(Path::new("/"));
    if let Ok(folder) = fs::File::open(parent) {
        // Other file systems know no such mark and need none.
        let _ = ioctl_getflags(&folder)
            .and_then(|flags| ioctl_setflags(&folder, flags | IFlags::TOPDIR));
    }
    let staged = tempfile::Builder::new()
        .prefix(".layers-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(parent)?;
    fs::set_permissions(staged.path(), fs::Permissions::from_mode(0o755))?;
    fs::rename(staged.path(), layers)?;
    // It has its final name: nothing is left to remove.
    drop(staged.keep());
    Ok(())
}

fn run(mut sandbox: Sandbox, phase: &Phase<'_>) -> Result<u8, Failure> {
    let starting = || format!("cannot run the {} in the sandbox", phase.name);
    let reader = if phase.quiet {
        let (reader, writer) = std::io::pipe().or_fail(Exit::General, starting)?;
        sandbox.stdout = Stream::Fd(writer.try_clone().or_fail(Exit::General, starting)?.into());
        sandbox.stderr = Stream::Fd(writer.into());
        Some(reader)
    } else {
        None
    };
    let mut child = sandbox::spawn(&sandbox).or_fail(Exit::Sandbox, starting)?;
    // The reader ends with the last writer; this process must not be one.
    drop(sandbox);
    let waiting = || format!("cannot wait for the {}", phase.name);
    let mut said = Said::default();
    if let Some(mut reader) = reader {
        std::io::copy(&mut reader, &mut said).or_fail(Exit::General, waiting)?;
    }
    let status = child.wait().or_fail(Exit::Sandbox, waiting)?;
    let code = u8::try_from(sandbox::exit_code(status)).unwrap_or(1);
    if code != 0 {
        // Quiet or not, what a failed phase said is what the user needs.
        drop(said.print(&mut std::io::stderr()));
    }
    Ok(code)
}

/// The end of what a quiet phase says: the reason of a failure stands there, and buildpacks may print without end.
#[derive(Debug, Default)]
struct Said {
    last: VecDeque<u8>,
    /// Bytes before those.
    left_out: u64,
}

impl Said {
    const MOST: usize = 1 << 20;

    fn print(&self, to: &mut impl Write) -> std::io::Result<()> {
        if self.left_out > 0 {
            writeln!(to, "[{} bytes before this are left out]", self.left_out)?;
        }
        let (first, second) = self.last.as_slices();
        to.write_all(first)?;
        to.write_all(second)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.last.extend(bytes);
        let surplus = self.last.len().saturating_sub(Self::MOST);
        drop(self.last.drain(..surplus));
        self.left_out += surplus as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn give(stack: &Foundation, path: &Path, depth: usize) -> Result<(), Failure> {
    let (uid, gid) = sandbox::host_ids(stack.uid, stack.gid);
    if uid == rustix::process::getuid().as_raw() {
        return Ok(());
    }
    own(path, depth, uid, gid).or_fail(Exit::Store, || {
        format!("cannot give {} to the build's user", path.display())
    })
}

/// Changes the owner of a tree, so many folders deep, without following links.
pub(super) fn own(path: &Path, depth: usize, uid: u32, gid: u32) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, lchown};
    let meta = fs::symlink_metadata(path)?;
    if meta.uid() != uid || meta.gid() != gid {
        lchown(path, Some(uid), Some(gid))?;
    }
    if meta.is_dir() && depth > 0 {
        for entry in fs::read_dir(path)? {
            own(&entry?.path(), depth - 1, uid, gid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_phase_keeps_the_end_of_what_it_says() {
        let mut said = Said::default();
        said.write_all(b"first line\n").unwrap();
        for _ in 0..100 {
            said.write_all(&vec![b'x'; 100_000]).unwrap();
        }
        said.write_all(b"\nthe reason\n").unwrap();
        let mut printed = Vec::new();
        said.print(&mut printed).unwrap();
        let text = String::from_utf8(printed).unwrap();
        assert!(text.ends_with("x\nthe reason\n"));
        assert!(!text.contains("first line"));
        let left_out = 11 + 10_000_000 + 12 - Said::MOST;
        let head = format!("[{left_out} bytes before this are left out]\n");
        assert!(text.starts_with(&head), "{}", &text[..60]);
        assert_eq!(text.len(), head.len() + Said::MOST);
    }
}
