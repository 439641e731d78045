//! containerd, through its own program `ctr`: its API is gRPC, and `ctr` comes with it.

use super::engines::{Saved, feed, finish, is_socket, start};
use crate::failure::{Exit, Failure, OrFail};
use crate::place;
use crate::store::Store;
use oci_image::{Archive, Reference};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

const PROGRAM: &str = "ctr";

/// Where containerd listens when nobody says otherwise; k3s brings one of its own.
const SOCKETS: [&str; 2] = [
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
];

/// Gives an OCI archive, whose image has the name's tag, to containerd, which unpacks it as well. The digest stays.
pub(super) fn load(name: &Reference, archive: Archive) -> Result<Vec<String>, Failure> {
    let arguments = ["images", "import", "--base-name", &name.name(), "-"];
    let child = run(&arguments, Stdio::piped(), Stdio::piped())?;
    feed("ctr images import", PROGRAM, child, archive)
}

/// The OCI archive of an image.
pub(super) fn save(store: &Store, name: &str) -> Result<Saved, Failure> {
    let writing = || format!("cannot write a file in {}", store.root().display());
    let file = tempfile::tempfile_in(store.root()).or_fail(Exit::Store, writing)?;
    let name = place::reference(name)?.or_latest().to_string();
    let out: File = file.try_clone().or_fail(Exit::Store, writing)?;
    let child = run(&["images", "export", "-", &name], Stdio::null(), out.into())?;
    finish(PROGRAM, child).map_err(|failure| {
        failure
            .hint("ctr images list shows what is there; CONTAINERD_NAMESPACE chooses a namespace")
    })?;
    Ok(Saved(file))
}

fn run(arguments: &[&str], input: Stdio, output: Stdio) -> Result<Child, Failure> {
    start(PROGRAM, call(arguments)?, input, output)
        .map_err(|failure| failure.hint("install it: ctr comes with containerd"))
}

/// Arguments after those that say where containerd is. Its namespace is what `CONTAINERD_NAMESPACE` says, as for any
/// call of ctr.
fn call(arguments: &[&str]) -> Result<Vec<OsString>, Failure> {
    let given = std::env::var_os("CONTAINERD_ADDRESS").filter(|path| !path.is_empty());
    let sockets: Vec<PathBuf> = match given {
        Some(path) => {
            let text = path.to_string_lossy();
            vec![PathBuf::from(text.strip_prefix("unix://").unwrap_or(&text))]
        }
        None => SOCKETS.map(PathBuf::from).to_vec(),
    };
    let Some(socket) = sockets.iter().find(|path| is_socket(path)) else {
        let looked: Vec<String> = sockets
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Failure::new(
            Exit::Network,
            format!("no containerd is here: there is no socket {}", looked.join(" and no ")),
        )
        .hint("start it, name its socket with CONTAINERD_ADDRESS=PATH, or write oci-archive:FILE, which ctr images import reads"));
    };
    check_rights(socket)?;
    let mut all = vec![OsString::from("--address"), socket.clone().into_os_string()];
    all.extend(arguments.iter().map(OsString::from));
    Ok(all)
}

/// ctr waits ten seconds before it says that it may not open the socket.
fn check_rights(socket: &Path) -> Result<(), Failure> {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(
            Exit::Network,
            format!("cannot reach containerd at {}", socket.display()),
        )
        .because(error)
        .hint(
            "only root may use most of them; write oci-archive:FILE, which ctr images import reads",
        )),
    }
}
