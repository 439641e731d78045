//! Docker's own registry, and a wire to it that can be cut.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use test_support::{TestContext, free_port};

/// bcrypt of [`PASSWORD`], at its lowest cost.
const HASH: &str = "$2b$04$eawtxyQgZqj4H3kbQS5MTOb9PImElnM8ltH4op6FQ3lHKWYyiQS5u";

pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "s3cret:word";

/// Ends with the test, however the test ends.
pub(crate) struct Registry {
    process: Child,
    pub(crate) host: String,
}

impl Registry {
    pub(crate) fn start(t: &TestContext) -> Self {
        Self::serve(t, "")
    }

    /// One that wants [`USER`] and [`PASSWORD`].
    pub(crate) fn with_login(t: &TestContext) -> Self {
        let file = t.scratch().join("htpasswd");
        std::fs::write(&file, format!("{USER}:{HASH}\n")).unwrap();
        let auth = format!(
            "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
            file.display()
        );
        Self::serve(t, &auth)
    }

    /// One that speaks https only, to those who show a certificate: `ca.crt`, `server.crt` and `server.key` are in the
    /// test's folder.
    pub(crate) fn with_tls(t: &TestContext) -> Self {
        let file = |name: &str| t.scratch().join(name).display().to_string();
        let tls = format!(
            "  tls:\n    certificate: {}\n    key: {}\n    clientcas: [{}]\n",
            file("server.crt"),
            file("server.key"),
            file("ca.crt")
        );
        Self::serve(t, &tls)
    }

    fn serve(t: &TestContext, more: &str) -> Self {
        let host = format!("127.0.0.1:{}", free_port());
        let config = t.scratch().join("registry.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n{more}",
            t.scratch().join("registry").display()
        );
        std::fs::write(&config, text).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&host).is_err() {
            assert!(Instant::now() < deadline, "docker-registry did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, host }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Passes everything on to a registry, and counts what comes back.
pub(crate) struct Wire {
    pub(crate) host: String,
    pub(crate) received: Arc<AtomicU64>,
}

impl Wire {
    /// After `limit` bytes from the registry nothing more comes; connections stay open.
    pub(crate) fn to(registry: &Registry, limit: u64) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), registry, limit)
    }

    /// The same at another address of this machine.
    pub(crate) fn at(address: IpAddr, registry: &Registry, limit: u64) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let received = Arc::new(AtomicU64::new(0));
        let (to, counter) = (registry.host.clone(), Arc::clone(&received));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&to)) else {
                    return;
                };
                let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || {
                    drop(std::io::copy(&mut up, &mut down));
                    drop(down.shutdown(Shutdown::Write));
                });
                let counter = Arc::clone(&counter);
                std::thread::spawn(move || pass(server, client, &counter, limit));
            }
        });
        Self { host, received }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64, limit: u64) {
    let mut buffer = vec![0; 64 << 10];
    while counter.load(Ordering::Relaxed) < limit
        && let Ok(count @ 1..) = from.read(&mut buffer)
    {
        counter.fetch_add(count as u64, Ordering::Relaxed);
        if to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    if counter.load(Ordering::Relaxed) >= limit {
        // Silence, until the client goes.
        drop(to.read(&mut [0]));
    } else {
        drop(to.shutdown(Shutdown::Write));
    }
}

/// Defines tests that run as root and as a plain user where there are `docker-registry` and `curl`.
macro_rules! beside_registry {
    ($($check:ident => $root:ident, $plain:ident;)*) => {$(
        #[test]
        fn $root() {
            test_support::requires!(
                test_support::Need::Program("docker-registry"),
                test_support::Need::Program("curl"),
                test_support::Need::Root
            );
            $check(test_support::Who::Root);
        }

        #[test]
        fn $plain() {
            test_support::requires!(
                test_support::Need::Program("docker-registry"),
                test_support::Need::Program("curl")
            );
            $check(test_support::Who::Plain);
        }
    )*};
}
pub(crate) use beside_registry;
