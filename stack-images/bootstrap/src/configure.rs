//! What runs inside the new root: the packages' own scripts, by the real dpkg.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::dpkg;
use crate::unpack::Unpacked;

/// A program to run in a new root as uid 0 with ownership faked: chown, setuid and their like report
/// success and do nothing, as every file belongs to whoever bootstraps and layers get their owners
/// from the packages.
#[derive(Clone, Debug)]
pub struct ConfigureRequest {
    /// The root.
    pub target: Target,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// An empty directory in the same file system as the root, free to be used during the run: for the work
    /// directory of an overlay, or the lower one where [`Target::Root`] is mounted as an overlay of nothing.
    pub scratch: PathBuf,
}

/// The file system a configuration run sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This directory itself, read-write.
    Root(PathBuf),
    /// An overlay whose changes stay in `upper`.
    Overlay {
        /// Read-only directories, topmost first.
        lower: Vec<PathBuf>,
        /// Has content already, which covers that of `lower`.
        upper: PathBuf,
    },
}

/// Runs a [`ConfigureRequest`] to its end; fails if the program does. Its output belongs into the
/// error: it says which package's script failed.
pub type Configure<'a> =
    dyn Fn(&ConfigureRequest) -> Result<(), Box<dyn Error + Send + Sync>> + Sync + 'a;

/// The run that turns unpacked packages into installed ones.
pub(crate) fn request(target: Target, packages: &[&Unpacked], scratch: &Path) -> ConfigureRequest {
    let argv = ["/bin/sh", "-c", &script(packages)]
        .map(OsString::from)
        .to_vec();
    // No SOURCE_DATE_EPOCH: with it, Python's compiled modules would carry hashes of their sources instead of
    // their times, and every import in every dyno would read and hash the source.
    let env = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("HOME", "/root"),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
        ("DEBIAN_FRONTEND", "noninteractive"),
        ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
        // Iteration order must not decide what ends up in a file.
        ("PYTHONHASHSEED", "0"),
        ("PERL_HASH_SEED", "0"),
    ]
    .map(|(name, value)| (OsString::from(name), OsString::from(value)))
    .to_vec();
    ConfigureRequest {
        target,
        argv,
        env,
        scratch: scratch.to_owned(),
    }
}

/// `policy-rc.d` (Debian Policy §9.3.3.1) keeps services from being started; it is not part of the root.
const BEGIN: &str = r#"set -eu
umask 022
cd /
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
preinst() {
    DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE="$1" DPKG_MAINTSCRIPT_ARCH="$2" \
    DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT= DPKG_FORCE= \
    DPKG_RUNNING_VERSION="$version" DEBCONF_PACKAGE="$1" \
        "/var/lib/dpkg/info/$3.preinst" install || { echo "the preinst script of $1 failed" >&2; exit 1; }
}
version=$(dpkg-query --admindir=/var/lib/dpkg -W -f '${Version}' dpkg)
"#;

/// Whoever takes the root over is careful with his disk himself: dpkg need not be.
const END: &str = "dpkg --force-unsafe-io --configure -a
dpkg --force-unsafe-io --triggers-only -a
rm -f /usr/sbin/policy-rc.d
";

fn script(packages: &[&Unpacked]) -> String {
    let mut script = String::from(BEGIN);
    for control in dpkg::preinst_order(packages) {
        let field = |name| control.paragraph().get(name).unwrap_or_default();
        // Names of packages and architectures need no quoting (Policy §5.6.1); writing to a string cannot fail.
        let _ = writeln!(
            script,
            "preinst {} {} {}",
            field("Package"),
            field("Architecture"),
            dpkg::qualified(control)
        );
    }
    script.push_str(END);
    script
}
