//! What a virtual environment consists of besides its packages.

use crate::interpreter::Interpreter;
use crate::python_version::Implementation;
use libcnb::layer_env::{LayerEnv, ModificationBehavior, Scope};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Where its packages lie.
pub(crate) fn site_packages(venv: &Path, python: &Interpreter) -> PathBuf {
    venv.join(format!("lib/{}/site-packages", python.library))
}

/// What tells a Python from others.
pub(crate) fn identity(python: &Interpreter) -> String {
    format!("{} {}", python.version, python.executable.display())
}

/// A virtual environment is three links and a file (PEP 405); writing them takes no process.
pub(crate) fn create(venv: &Path, python: &Interpreter) -> io::Result<()> {
    let series = python.version.series;
    fs::create_dir_all(site_packages(venv, python))?;
    symlink("lib", venv.join("lib64"))?;
    let bin = venv.join("bin");
    fs::create_dir_all(&bin)?;
    symlink(&python.executable, bin.join("python"))?;
    symlink("python", bin.join("python3"))?;
    symlink("python", bin.join(format!("python{series}")))?;
    // Of other builds: python3.13t, pypy3.11.
    if python.library != format!("python{series}") {
        symlink("python", bin.join(&python.library))?;
    }
    let home = python.executable.parent().unwrap_or(Path::new("/usr/bin"));
    fs::write(
        venv.join("pyvenv.cfg"),
        format!(
            "home = {}\nimplementation = {}\nversion_info = {}\ninclude-system-site-packages = false\n",
            home.display(),
            match python.implementation {
                Implementation::CPython => "CPython",
                Implementation::PyPy => "PyPy",
            },
            python.version
        ),
    )
}

/// What web processes run before they start (Buildpack specification, Exec.d).
pub(super) fn write_exec_d(venv: &Path) -> io::Result<()> {
    const WEB_CONCURRENCY: &str = include_str!("../../launch/web_concurrency.sh");
    let folder = venv.join("exec.d/web");
    fs::create_dir_all(&folder)?;
    let program = folder.join("web_concurrency");
    fs::write(&program, WEB_CONCURRENCY)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
}

/// What the app and later buildpacks see. `bin` and `lib` come by themselves, by the specification.
pub(super) fn layer_env(venv: &Path) -> LayerEnv {
    use ModificationBehavior::{Default, Override};
    LayerEnv::new()
        .chainable_insert(Scope::All, Override, "VIRTUAL_ENV", venv)
        .chainable_insert(Scope::All, Override, "PYTHONUNBUFFERED", "1")
        .chainable_insert(Scope::All, Default, "LANG", "C.UTF-8")
        .chainable_insert(Scope::All, Default, "PIP_DISABLE_PIP_VERSION_CHECK", "1")
        // The router is the only one that reaches the app.
        .chainable_insert(Scope::Launch, Default, "FORWARDED_ALLOW_IPS", "*")
        .chainable_insert(
            Scope::Launch,
            Default,
            "GUNICORN_CMD_ARGS",
            "--access-logfile -",
        )
}
