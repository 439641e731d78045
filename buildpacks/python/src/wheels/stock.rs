//! Stocks the wheel store: installs an app's packages into an empty environment that is linked from uv's cache, and
//! compiles what no app had before.

use super::{
    Bytecode, DESCRIPTION, Identity, ORDER_VARIABLE, Order, STORE_VARIABLE, Stocked, is_shared,
};
use crate::bytecode::{self, Ahead};
use crate::command::{self, CommandError};
use crate::install::{Freshness, InstallError, Installer, uv};
use crate::interpreter::Interpreter;
use crate::layers::venv::{self, VenvError};
use crate::project::{Plan, Source};
use crate::records::{self, Package};
use crate::tools::Tools;
use crate::{BuildpackError, PythonBuildpack, checks, files, fingerprint, project, tool_env};
use libcnb::build::{BuildContext, BuildResult, BuildResultBuilder};
use libcnb::{Env, Platform as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The platform's settings that uv gets to see; the platform has looked at their values.
const SETTINGS: [&str; 11] = [
    "PIP_CERT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_HTTP_TIMEOUT",
    "UV_INDEX",
    "UV_INDEX_URL",
];

/// No wheel takes so long to be unpacked.
const ABANDONED: Duration = Duration::from_hours(1);

/// Which bytecode belongs to an installed package.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The folder's name in uv's cache.
    archive: String,
    bytecode: Bytecode,
}

/// The store's folder, if this process was started to stock it.
pub(crate) fn store() -> Option<PathBuf> {
    std::env::var_os(STORE_VARIABLE).map(PathBuf::from)
}

/// Installs what the app asks for, beside its layers, and describes it.
pub(crate) fn run(
    mut context: BuildContext<PythonBuildpack>,
    store: &Path,
) -> libcnb::Result<BuildResult, BuildpackError> {
    let user = context.platform.env();
    context.app_dir =
        checks::project_folder(&context.app_dir, user).map_err(BuildpackError::Check)?;
    let all_settings = tool_env::with_user_variables(user);
    let env = environment(user);
    let order = order().unwrap_or_default();
    let Some(choice) = project::choose(&context.app_dir, &all_settings)? else {
        Err(BuildpackError::NotShared("it has none"))?
    };
    let plan =
        project::plan(&context.app_dir, choice, &all_settings).map_err(BuildpackError::Project)?;
    if !is_shared(&plan, &context.app_dir) {
        Err(BuildpackError::NotShared("not all of them are of an index"))?;
    }
    let mut tools = Tools::new(&context, &env)?.of_stack_alone();
    let python = tools.python(Some(&plan.source))?;
    let of = Identity::new(&python, &plan, &all_settings);
    if of != order.of {
        Err(BuildpackError::NotShared(
            "another buildpack of the build sets something for installers",
        ))?;
    }
    let installer = tools.installer(&python, Some(&plan))?;
    let Installer::Uv { program, .. } = &installer else {
        Err(BuildpackError::NotShared("uv does not install them"))?
    };
    let stocking = Stocking {
        program,
        python: &python,
        // uv knows what it has by index and file name; a lock's addresses may lead elsewhere.
        cache: store.join(match plan.source {
            Source::UvLock => "uv-locked",
            _ => "uv",
        }),
        notes: store.join("bytecode"),
        venv: context.layers_dir.join("venv"),
        env: &env,
    };
    let failed = |source| BuildpackError::Venv(VenvError::new(&stocking.venv, source));
    stocking.prepare().map_err(failed)?;
    let ahead = Ahead::start(
        &python.executable,
        &stocking.cache,
        &stocking.site_packages(),
    );
    let said = stocking
        .install(&plan, &order, &context.app_dir)
        .map_err(|source| {
            BuildpackError::Install(InstallError {
                installer: installer.to_string(),
                source_file: plan.source.clone(),
                file: plan.source.to_string(),
                location: None,
                source,
            })
        })?;
    let (compiled, bytecode) = stocking.compile(ahead).map_err(failed)?;
    let stocked = Stocked {
        of,
        said,
        compiled,
        bytecode,
    };
    write_json(&context.layers_dir.join(DESCRIPTION), &stocked).map_err(failed)?;
    BuildResultBuilder::new().build()
}

fn order() -> Option<Order> {
    serde_json::from_str(&std::env::var(ORDER_VARIABLE).ok()?).ok()
}

/// What uv runs with: this process's own environment, which has none of the app's variables, and the settings that say
/// where packages come from. No code is run to get one.
fn environment(user: &Env) -> Env {
    let mut env = Env::from_current();
    for name in SETTINGS {
        if let Some(value) = user.get(name) {
            env.insert(name, value);
        }
    }
    // The app's own code may be running: a file that it writes by now must not name a folder for uv to write to.
    env.insert("UV_NO_CONFIG", "true");
    env
}

/// An install that is being made.
struct Stocking<'a> {
    program: &'a Path,
    python: &'a Interpreter,
    /// uv's.
    cache: PathBuf,
    notes: PathBuf,
    venv: PathBuf,
    env: &'a Env,
}

impl Stocking<'_> {
    fn site_packages(&self) -> PathBuf {
        venv::site_packages(&self.venv, self.python)
    }

    fn prepare(&self) -> io::Result<()> {
        venv::create(&self.venv, self.python)?;
        fs::create_dir_all(&self.cache)?;
        fs::create_dir_all(&self.notes)?;
        self.remove_abandoned()
    }

    /// Removes what killed processes were unpacking: what compiles ahead would take it for a wheel that arrives.
    fn remove_abandoned(&self) -> io::Result<()> {
        let now = SystemTime::now();
        for entry in fs::read_dir(&self.cache)? {
            let entry = entry?;
            let is_staged = entry.file_name().as_encoded_bytes().starts_with(b".tmp");
            // Another process may be done with its own by now.
            let is_old = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|at| now.duration_since(at).is_ok_and(|since| since > ABANDONED));
            if is_staged && is_old {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        Ok(())
    }

    /// Returns what uv said.
    fn install(&self, plan: &Plan, order: &Order, app_dir: &Path) -> Result<String, CommandError> {
        self.forget(&order.damaged)?;
        let freshness = if order.refresh {
            Freshness::Revalidated
        } else {
            Freshness::Shared
        };
        let (cache, venv) = (&self.cache, &self.venv);
        uv::install(
            self.program,
            cache,
            plan,
            venv,
            freshness,
            app_dir,
            self.env,
        )
    }

    /// Has uv fetch packages again the next time.
    fn forget(&self, packages: &BTreeSet<String>) -> Result<(), CommandError> {
        if packages.is_empty() {
            return Ok(());
        }
        let mut clean = Command::new(self.program);
        clean
            .args(["cache", "clean", "--"])
            .args(packages)
            .env_clear()
            .envs(&tool_env::for_uv(self.env))
            .env("UV_CACHE_DIR", &self.cache);
        command::stream(&mut clean)
    }

    /// Compiles the modules that have no bytecode in the store; returns of how many that was, and the digests of all.
    fn compile(&self, ahead: Option<Ahead>) -> io::Result<(usize, BTreeMap<String, Bytecode>)> {
        let site_packages = self.site_packages();
        files::remove_if_there(&self.venv.join(".lock"))?;
        let installed = records::installed(&site_packages)?;
        if records::share_files(&installed) {
            return Err(io::Error::other("two packages share a file"));
        }
        let tag = self.python.bytecode_tag.clone();
        let (mut notes, mut without, mut modules) = (Vec::new(), Vec::new(), Vec::new());
        for (name, package) in &installed {
            let files = LazyCell::new(|| package.files.iter().collect::<BTreeSet<_>>());
            records::drop_cache_note(&site_packages, name)?;
            let note = self.note(&site_packages, name)?;
            let known = read_note(&note);
            let mut has_all = known.is_some();
            let known = known.unwrap_or_default();
            for module in venv::modules(&site_packages, package) {
                let bytecode = bytecode::place(&module, &tag);
                let path = relative(&bytecode, &site_packages);
                let digest = known.bytecode.get(&path);
                if digest.is_some_and(|digest| digest.is_empty() || bytecode.exists())
                    || files.contains(&path)
                    // Whoever copies the package finds out, and has it fetched again.
                    || !module.exists()
                {
                    continue;
                }
                has_all = false;
                // Nobody vouches for it: it was left by a process that was killed.
                files::remove_if_there(&bytecode)?;
                modules.push(module);
            }
            if has_all {
                touch(&note)?;
            } else {
                without.push((name, package));
            }
            notes.push((name, note, known));
        }
        let compiled = bytecode::start(&self.python.executable, modules, ahead)
            .and_then(bytecode::Compilation::finish)
            .map_err(io::Error::other)?;
        let archives = self.archives(&site_packages, &without)?;
        let mut all = BTreeMap::new();
        for (name, path, known) in notes {
            let note = match installed.get(name) {
                Some(package) if without.iter().any(|(other, _)| *other == name) => {
                    let archive = archives.get(name).cloned().unwrap_or_default();
                    self.keep(&path, archive, package, &tag)?
                }
                _ => known,
            };
            all.insert(name.to_string_lossy().into_owned(), note.bytecode);
        }
        Ok((compiled, all))
    }

    /// The file that tells of a package's bytecode: records of the same bytes name the same files.
    fn note(&self, site_packages: &Path, package: &OsString) -> io::Result<PathBuf> {
        let record = fs::read(site_packages.join(package).join("RECORD"))?;
        Ok(self.notes.join(fingerprint::hex(&Sha256::digest(record))))
    }

    /// The folders in uv's cache that packages were linked from: those with the same files.
    fn archives(
        &self,
        site_packages: &Path,
        packages: &[(&OsString, &Package)],
    ) -> io::Result<BTreeMap<OsString, String>> {
        let mut found = BTreeMap::new();
        let archives = self.cache.join("archive-v0");
        if packages.is_empty() || !archives.exists() {
            return Ok(found);
        }
        let mut inodes = BTreeMap::new();
        for (name, _) in packages {
            let metadata = fs::metadata(site_packages.join(name).join("METADATA"))?;
            inodes.insert((*name).clone(), metadata.ino());
        }
        for archive in fs::read_dir(&archives)? {
            let archive = archive?;
            // Another process may be removing it.
            let Ok(entries) = fs::read_dir(archive.path()) else {
                continue;
            };
            for entry in entries.flatten() {
                let Some(inode) = inodes.get(&entry.file_name()) else {
                    continue;
                };
                let same = fs::metadata(entry.path().join("METADATA"))
                    .is_ok_and(|metadata| metadata.ino() == *inode);
                if same && let Ok(id) = archive.file_name().into_string() {
                    found.insert(entry.file_name(), id);
                }
            }
        }
        Ok(found)
    }

    /// Notes the digests of a package's bytecode, then puts it beside its modules in uv's cache, from where the next
    /// app's environment is linked.
    fn keep(&self, path: &Path, archive: String, package: &Package, tag: &str) -> io::Result<Note> {
        let site_packages = self.site_packages();
        let mut note = Note {
            archive,
            bytecode: Bytecode::new(),
        };
        let modules = venv::modules(&site_packages, package);
        for module in modules.filter(|module| module.exists()) {
            let bytecode = bytecode::place(&module, tag);
            let digest = match fs::read(&bytecode) {
                Ok(bytes) => fingerprint::hex(&Sha256::digest(bytes)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error),
            };
            note.bytecode
                .insert(relative(&bytecode, &site_packages), digest);
        }
        let archive = self.cache.join("archive-v0").join(&note.archive);
        let files = package.files.iter().map(String::as_str).collect();
        if !note.archive.is_empty() && has_strays(&archive, &archive, &files, &note)? {
            return Err(io::Error::other(
                "a wheel has files that its RECORD does not name",
            ));
        }
        write_json(path, &note)?;
        if note.archive.is_empty() {
            return Ok(note);
        }
        for (bytecode, digest) in &note.bytecode {
            let target = archive.join(bytecode);
            let Some(folder) = target.parent().filter(|_| !digest.is_empty()) else {
                continue;
            };
            // Modules of a wheel's `.data` lie elsewhere in the cache.
            if !folder.parent().is_some_and(Path::is_dir) {
                continue;
            }
            match fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            // What a killed process leaves must not be among the wheel's files.
            let staged = self.notes.join(unique());
            files::remove_if_there(&staged)?;
            fs::hard_link(site_packages.join(bytecode), &staged)?;
            fs::rename(&staged, &target)?;
            // Two names of one file are left alone by a rename.
            files::remove_if_there(&staged)?;
        }
        Ok(note)
    }
}

/// Whether a wheel brought files that its record does not name: an environment would have them, and a copy that goes by
/// the record would not. What goes elsewhere than to `site-packages` has other paths in the record.
fn has_strays(
    folder: &Path,
    archive: &Path,
    files: &BTreeSet<&str>,
    note: &Note,
) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = relative(&path, archive);
        if path.is_dir() {
            let is_data = folder == archive && path.extension().is_some_and(|end| end == "data");
            if !is_data && has_strays(&path, archive, files, note)? {
                return Ok(true);
            }
        } else if !note.bytecode.contains_key(&name)
            && !files.contains(name.as_str())
            && !path.ends_with("uv_cache.json")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The note, if it is there and can be read.
fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Marks a note as used: what no app used for long is removed.
fn touch(path: &Path) -> io::Result<()> {
    fs::File::options()
        .write(true)
        .open(path)?
        .set_modified(SystemTime::now())
}

fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

/// The end of a name that no other process takes: those in other sandboxes may have the same number.
fn unique() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!(".{}-{now}", std::process::id())
}

/// Writes a file whole or not at all.
fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(unique());
    fs::write(&staged, serde_json::to_vec(value)?)?;
    fs::rename(&staged, path)
}
