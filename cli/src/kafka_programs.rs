//! Apache Kafka itself: fetched once by ivy, which knows where Java's programs are published, and
//! checked against slugc's own list of digests.

use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::store::{self, Store};
use crate::ui::printer::Printer;
use oci_image::Digest;
use rustix::fs::FlockOperation;
use sandbox::{Mount, Root, Sandbox, Stream, Writable};
use slug_runtime::addons::{Addons, KAFKA_PROGRAMS, Service};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;

const IVY: &str = include_str!("../../stack-images/addon-kafka/ivy.xml");

/// As sha256sum writes it: exactly these files make up Kafka.
const DIGESTS: &str = include_str!("../../stack-images/addon-kafka/jars.sha256");

/// Java keeps authorities in a file of its own format: Debian's program makes it out of the host's.
const FETCH: &str = r#"
mkdir -p /tmp/authorities /etc/ssl/certs/java
awk '/BEGIN CERTIFICATE/ { n++ } n { print > ("/tmp/authorities/" n ".crt") }' /etc/ssl/certs/ca-certificates.crt
for file in /tmp/authorities/*.crt; do echo "+$file"; done |
    java -jar /usr/share/ca-certificates-java/ca-certificates-java.jar -storepass changeit > /dev/null
java -Djavax.net.ssl.trustStore=/etc/ssl/certs/java/cacerts $PROXY -jar /usr/share/java/ivy.jar \
    -ivy /srv/ivy.xml -confs default -cache /tmp/cache -retrieve '/srv/jars/[artifact]-[revision].[ext]' >&2
"#;

/// Fetches Kafka unless it is there.
pub(crate) fn ensure(store: &Store, printer: &Printer, root: &Path) -> Result<(), Failure> {
    let folder = Addons::new(store.root()).recipe_folder(Service::Kafka);
    let programs = folder.join(KAFKA_PROGRAMS);
    if programs.is_dir() {
        return Ok(());
    }
    let _lock = store::lock(&folder.join("programs.lock"), FlockOperation::LockExclusive)?;
    if programs.is_dir() {
        return Ok(());
    }
    let fetching = || "cannot fetch Apache Kafka".to_owned();
    let staged = folder.join("programs.staged");
    store::remove_tree(&staged)?;
    fs::create_dir(&staged).or_fail(Exit::Store, fetching)?;
    fs::write(staged.join("ivy.xml"), IVY).or_fail(Exit::Store, fetching)?;
    printer.heading("Fetching Apache Kafka (once)");
    let spinner = printer.spinner("Java's ivy resolves and downloads");
    let fetched = fetch(root, &staged);
    spinner.finish_and_clear();
    fetched?;
    let jars = staged.join("jars");
    check(&jars)?;
    fs::rename(&jars, &programs).or_fail(Exit::Store, fetching)?;
    store::remove_tree(&staged)
}

fn fetch(root: &Path, staged: &Path) -> Result<(), Failure> {
    let fetching = || "cannot fetch Apache Kafka".to_owned();
    let root = Root {
        lower: vec![root.to_owned()],
        writable: Writable::Tmpfs,
    };
    let argv = ["/bin/sh", "-eu", "-c", FETCH].map(Into::into).to_vec();
    let mut sandbox = Sandbox::new(root, argv);
    sandbox.uid = 0;
    sandbox.gid = 0;
    sandbox.env = [
        (
            "PATH",
            "/usr/lib/jvm/default-java/bin:/usr/bin:/bin".to_owned(),
        ),
        ("HOME", "/tmp".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PROXY", proxy_options()),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec();
    sandbox.mounts = host::network_mounts();
    sandbox.mounts.push(Mount::read_write(staged, "/srv"));
    let mut said = tempfile::tempfile().or_fail(Exit::General, fetching)?;
    let output = || said.try_clone().or_fail(Exit::General, fetching);
    sandbox.stdin = Stream::Null;
    sandbox.stdout = Stream::Fd(output()?.into());
    sandbox.stderr = Stream::Fd(output()?.into());
    let status = sandbox::spawn(&sandbox)
        .or_fail(Exit::Sandbox, fetching)?
        .wait()
        .or_fail(Exit::General, fetching)?;
    if status.success() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    said.rewind()
        .and_then(|()| said.read_to_end(&mut bytes))
        .or_fail(Exit::General, fetching)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(12)..].join("\n");
    Err(Failure::new(Exit::Network, fetching())
        .because(format!("ivy failed:\n{last}"))
        .hint(
            "check the network, and that this machine's certificates are right; then run it again",
        ))
}

/// The proxy in Java's own words (Java SE, "Networking Properties").
fn proxy_options() -> String {
    let Some(proxy) = host::proxy_for("https://example/") else {
        return String::new();
    };
    let address = proxy.split_once("://").map_or(&*proxy, |(_, rest)| rest);
    let address = address.trim_end_matches('/');
    let address = address
        .rsplit_once('@')
        .map_or(address, |(_, server)| server);
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "80"));
    format!("-Dhttps.proxyHost={host} -Dhttps.proxyPort={port}")
}

/// Whether a folder has exactly the files of the list.
fn check(folder: &Path) -> Result<(), Failure> {
    let reading = || format!("cannot read {}", folder.display());
    let mut expected: BTreeMap<&str, &str> = DIGESTS
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name, digest))
        .collect();
    let refused = |message: String| {
        Failure::new(Exit::Network, message).hint(
            "what came over the network is not what slugc knows as Kafka: run it again, or look at this machine's \
             proxy",
        )
    };
    for entry in fs::read_dir(folder).or_fail(Exit::Store, reading)? {
        let entry = entry.or_fail(Exit::Store, reading)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        File::open(entry.path())
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .or_fail(Exit::Store, reading)?;
        let digest = Digest::of(&bytes).hex();
        match expected.remove(name.as_str()) {
            Some(known) if known == digest => {}
            Some(_) => {
                return Err(refused(format!(
                    "{name} of Apache Kafka has the wrong digest"
                )));
            }
            None => {
                return Err(refused(format!(
                    "{name} is no part of Apache Kafka as slugc knows it"
                )));
            }
        }
    }
    match expected.keys().next() {
        Some(missing) => Err(refused(format!("{missing} of Apache Kafka did not arrive"))),
        None => Ok(()),
    }
}
