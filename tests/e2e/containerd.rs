//! `containerd:NAME`, with a containerd of the test's own.

use crate::BINARY;
use crate::places::built;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use test_support::{Need, TestContext, Who, output_of, requires};

/// Ends with the test, and leaves nothing mounted.
struct Containerd {
    process: Child,
    folder: PathBuf,
}

impl Containerd {
    fn start() -> Self {
        // A socket's path is short.
        let folder = PathBuf::from(format!("/tmp/slugc-ctd-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let text = format!(
            "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{0}/c.sock\"\n",
            folder.display()
        );
        let settings = folder.join("config.toml");
        std::fs::write(&settings, text).unwrap();
        let process = Command::new("containerd")
            .arg("--config")
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { process, folder };
        let deadline = Instant::now() + Duration::from_mins(1);
        while std::os::unix::net::UnixStream::connect(started.socket()).is_err() {
            assert!(Instant::now() < deadline, "containerd did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        started
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("c.sock")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[test]
fn containerd_takes_it_and_gives_it_back() {
    requires!(
        Need::Root,
        Need::Program("containerd"),
        Need::Program("ctr")
    );
    let Some(t) = TestContext::with_own_store(BINARY, Who::Root) else {
        return;
    };
    let containerd = Containerd::start();
    let socket = containerd.socket();
    let (_, digest) = built(&t, &["-t", "team/shop:1.4"]);
    let slugc = |t: &TestContext, arguments: &[&str]| {
        let call = t.slugc().env("CONTAINERD_ADDRESS", &socket);
        call.args(arguments).run()
    };
    let copy = ["copy", "team/shop:1.4", "containerd:team/shop:1.4"];
    slugc(&t, &copy).success().says(&[&digest]);
    let address = socket.to_str().unwrap();
    let seen = output_of(
        "ctr",
        &["--address", address, "images", "list"],
        t.scratch(),
    );
    assert!(
        seen.contains("docker.io/team/shop:1.4") && seen.contains(&digest),
        "{seen}"
    );
    let back = TestContext::bare(BINARY, Who::Root).unwrap();
    let pulled = slugc(&back, &["pull", "containerd:team/shop:1.4"]);
    assert_eq!(pulled.success().digest(), digest);
    slugc(&back, &["images"]).success().says(&["team/shop:1.4"]);
    slugc(&back, &["pull", "containerd:never/there:1"])
        .failure(1)
        .says(&["never/there:1", "CONTAINERD_NAMESPACE"]);
    drop(containerd);
    slugc(&t, &copy)
        .failure(4)
        .says(&["no containerd is here", "oci-archive:FILE"]);
}
