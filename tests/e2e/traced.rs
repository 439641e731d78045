//! Where namespaces are refused to a plain user: in a container, or by a rule of the distribution.
//! A weaker and slower sandbox, a warning, and apart from that the same.

use crate::sandbox::assert_gone;
use crate::without_namespaces::{WARNING, check_images, check_stacks, reason, weak};
use crate::{BINARY, context};
use std::fs;
use std::path::Path;
use std::time::Duration;
use test_support::{Signal, TestContext, Who, fixtures, free_port, wait_for_http};

#[test]
fn the_image_is_the_same() {
    if let Some(t) = context(Who::Plain) {
        check_images(&t);
    }
}

#[test]
fn the_stack_is_the_same() {
    let Some(t) = context(Who::Plain) else { return };
    if let Some(own) = TestContext::bare(BINARY, Who::Plain) {
        check_stacks(&t, &own);
    }
}

#[test]
fn dynos_run_and_leave_nothing() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture("django-static-db");
    weak(&t, &app).args(["build", "."]).run().success();
    let run = |script: &str| weak(&t, &app).args(["run", "--", "sh", "-c", script]).run();
    let changed =
        run("id -u; echo changed >manage.py; rm Procfile; touch new /tmp/new ~/new; ls; exit 7");
    changed.failure(7).says(&["1000", "new", WARNING]);
    run("head -1 manage.py; ls /tmp ~ && test -e Procfile")
        .success()
        .never_says(&["changed", "new"]);
    run("kill -TERM $$").failure(143);
    run("sleep 100 & exit 3").failure(3);
    run("touch /usr/new || chmod 700 /usr/bin/env || exit 9")
        .failure(9)
        .says(&["Permission denied"]);

    let port = free_port();
    let mut dyno = weak(&t, &app)
        .args(["launch", "web", "--port", &port.to_string()])
        .start();
    let page = wait_for_http(port, "/titles.json", || reason(&mut dyno));
    assert!(page.body.contains("Solaris (1961)"), "{}", page.body);
    // A second one at the same time has files of its own.
    run("test ! -e db.sqlite3").success();
    let marker = format!("--bind 0.0.0.0:{port}");
    dyno.signal(Signal::INT);
    assert_eq!(dyno.wait(Duration::from_secs(35)).code(), 130);
    assert_gone(&marker);
}

/// Neither by their names nor by the ways that lead around the names.
#[test]
fn files_of_the_machine_are_not_there() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture("worker-only");
    weak(&t, &app).args(["build", "."]).run().success();
    let secret = t.home().join("credentials-of-the-test");
    fs::write(&secret, "s3cret-of-a-test").unwrap();
    t.give(&secret);
    let socket = t.home().join("socket-of-the-test");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    t.give(&socket);
    let script = r#"
import ctypes, errno, os, socket, struct, sys
secret, owner = sys.argv[1], int(sys.argv[2])
up = "/".join([".."] * 30)
os.symlink(secret, "/tmp/link")
ways = [secret, up + secret, "/tmp/link", "/proc/self/root" + secret, "/proc/self/cwd/" + up + secret]
for pid in os.listdir("/proc"):
    if pid.isdigit():
        ways += [f"/proc/{pid}/root{secret}", f"/proc/{pid}/cwd/{up}{secret}"]
found = 0
for way in ways:
    try:
        found += "s3cret" in open(way).read()
        print("read", way)
    except OSError:
        pass
for name in ["environ", "mem", "maps"]:
    try:
        open(f"/proc/{owner}/{name}", "rb").read(1)
        found += 1
        print("read", name, "of slugc")
    except OSError:
        pass
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    done = libc.syscall(*[ctypes.c_long(it) if isinstance(it, int) else it for it in (number, *arguments)])
    return done if done >= 0 else -ctypes.get_errno()
# The kernel takes numbers and lengths as 32 bits, whatever the registers have above them.
more = 1 << 32
CHMOD, CONNECT, SECCOMP = 90, 42, 317
address = struct.pack("=H108s", socket.AF_UNIX, sys.argv[3].encode())
for high in [0, more]:
    if call(CHMOD | high, secret.encode(), 0o600) == 0:
        print("read modes of the machine")
    for number in [CONNECT, CONNECT | more]:
        peer = socket.socket(socket.AF_UNIX)
        if call(number, peer.fileno(), address, 110 | high) == 0:
            print("read from a socket of the machine")
print("listener:", errno.errorcode[-call(SECCOMP, 1, 8, 0)])
try:
    os.kill(owner, 0)
    print("signals reach slugc")
except OSError:
    pass
print("ways:", len(ways) > 8)
sys.exit(found)
"#;
    let finished = weak(&t, &app)
        .args(["run", "--", "python", "-c", script])
        .arg(&secret)
        .arg(std::process::id().to_string())
        .arg(&socket)
        .run()
        .success();
    finished
        .says(&["ways: True", "listener: EPERM"])
        .never_says(&["read ", "s3cret"]);
}

/// What build code is told of its surroundings, as with namespaces but for processes and writes.
#[test]
fn a_build_sees_its_own_root() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture("worker-only");
    let built = weak(&t, &app)
        .args(["build", ".", "-b"])
        .arg(fixtures().join("buildpacks/surroundings"))
        .run()
        .success();
    built.says(&[
        "ids: 1000:1000",
        "no new privileges: 1",
        "effective capabilities: 0000000000000000",
        "seccomp: 2",
        "mount refused: yes",
        "namespace refused: yes",
        "stack is private: read-only",
    ]);
}

#[test]
fn a_killed_build_leaves_nothing() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture("worker-only");
    let mark = format!("89{}", std::process::id());
    let digest = weak(&t, &app).args(["build", "."]).run().success().digest();
    for (signal, code) in [(Signal::KILL, 137), (Signal::INT, 130)] {
        let mut build = weak(&t, &app)
            .args(["build", ".", "-b"])
            .arg(fixtures().join("buildpacks/endless"))
            .args(["-e", &format!("MARK={mark}")])
            .start();
        build.wait_for("waits for something");
        build.signal(signal);
        assert_eq!(build.wait(Duration::from_secs(20)).code(), code);
        assert_gone(&mark);
    }
    let again = weak(&t, &app)
        .args(["build", ".", "--refresh"])
        .run()
        .success();
    assert_eq!(again.digest(), digest);
}

/// Threads, processes, sockets with paths and what else goes through the tracer's hands.
#[test]
fn programs_do_not_notice() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture("worker-only");
    weak(&t, &app).args(["build", "."]).run().success();
    let script = r##"
import multiprocessing, os, shutil, socket, subprocess, sys, tempfile, threading
folder = tempfile.mkdtemp()
os.chdir(folder)
assert os.getcwd() == folder, os.getcwd()
here = os.open(".", os.O_RDONLY)
open("a", "w").write("x")
assert os.stat("a", dir_fd=here).st_size == 1 and os.fstat(here).st_uid == os.getuid() == 1000
os.rename("a", "b", src_dir_fd=here, dst_dir_fd=here)
os.link("b", "c"); os.symlink("c", "d"); os.utime("d", (1, 1)); os.chmod("d", 0o640)
assert os.readlink("d") == "c" and os.stat("b").st_mtime == 1 and os.stat("b").st_mode & 0o777 == 0o640
assert sorted(os.listdir(here)) == ["b", "c", "d"]
os.chown("b", os.getuid(), os.getgid())
for wrong in [lambda: open("e/f"), lambda: os.fstat(99), lambda: os.readlink("b"), lambda: os.setuid(0)]:
    try:
        wrong()
        raise SystemExit("no error")
    except OSError as error:
        print(error.strerror)
server = socket.socket(socket.AF_UNIX)
path = os.path.join(folder, "n" * (100 - len(folder)))
server.bind(path); server.listen()
client = socket.socket(socket.AF_UNIX); client.connect(path)
assert server.getsockname() == client.getpeername() == path, server.getsockname()
threads = [threading.Thread(target=lambda: [os.stat("/usr") for _ in range(200)]) for _ in range(8)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
assert multiprocessing.Pool(3).map(abs, [-1, -2]) == [1, 2]
open("script", "w").write("#!/usr/bin/env -S sh -e\necho $0 $*\n"); os.chmod("script", 0o700)
assert subprocess.check_output(["./script", "x y"]) == b"./script x y\n"
assert subprocess.run(["sh", "-c", "kill -9 $$"]).returncode == -9
assert os.readlink("/proc/self/exe") == os.path.realpath(sys.executable), os.readlink("/proc/self/exe")
assert open("/proc/self/comm").read() and open("/dev/stdin").read() == ""
shutil.rmtree(folder)
try:
    os.getcwd()
except FileNotFoundError:
    print("gone")
"##;
    let finished = weak(&t, &app)
        .args(["run", "--", "python", "-c", script])
        .run()
        .success();
    finished.says(&[
        "No such file or directory",
        "Bad file descriptor",
        "Invalid argument",
        "Operation not permitted",
        "gone",
    ]);
    let missing = weak(&t, &app).args(["run", "--", "no-such-command"]).run();
    missing.failure(127);
    assert!(!Path::new("/workspace/worker.py").exists());
}
