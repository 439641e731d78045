//! What builds say when packages can't be installed: real failures of uv, with small packages made here.

use crate::context::{Context, uv};
use crate::index::Index;
use crate::packages::{sdist, wheel};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The explanation without what differs between machines.
fn said(context: &Context) -> String {
    let failed = context.build();
    assert!(
        failed.stdout.to_lowercase().contains("error"),
        "the tool's own words are kept: {}",
        failed.stdout
    );
    context.stable(&failed.explanation())
}

#[test]
fn builds_from_source() {
    let packages = tempfile::tempdir().unwrap();
    let cases = [
        ("pkg_resources", "import pkg_resources\n"),
        ("undeclared", "import numpy\n"),
        (
            "use_2to3",
            "raise SystemExit('error in setup command: use_2to3 is invalid.')\n",
        ),
        ("cython", "raise AttributeError('cython_sources')\n"),
        ("killed", "import os\nos.kill(os.getpid(), 9)\n"),
        ("curl", "raise SystemExit(\"curl-config not found\")\n"),
        (
            "sklearn",
            "raise SystemExit(\"The 'sklearn' PyPI package is deprecated\")\n",
        ),
    ];
    for (name, backend) in cases {
        sdist(packages.path(), &format!("needs_{name}"), "1.0", backend);
    }
    let Some(context) = Context::with_uv(&[], packages.path()) else {
        return;
    };
    let mut explanations = String::new();
    for (name, _) in cases {
        context.write("requirements.txt", format!("needs_{name}\n"));
        let _ = writeln!(explanations, "--- {name}\n{}", said(&context));
    }
    insta::assert_snapshot!("builds_from_source", explanations);
}

#[test]
fn names() {
    let packages = tempfile::tempdir().unwrap();
    wheel(packages.path(), "pywin32", "306", &[], &[]);
    std::fs::rename(
        packages.path().join("pywin32-306-py3-none-any.whl"),
        packages.path().join("pywin32-306-py3-none-win_amd64.whl"),
    )
    .unwrap();
    let Some(context) = Context::with_uv(&[], packages.path()) else {
        return;
    };
    let mut explanations = String::new();
    for requirement in [
        "PIL",
        "json",
        "python==3.11",
        "pkg-resources==0.0.0",
        "pywin32==306",
    ] {
        context.write("requirements.txt", format!("{requirement}\n"));
        let _ = writeln!(explanations, "--- {requirement}\n{}", said(&context));
    }
    insta::assert_snapshot!("names", explanations);
}

#[test]
fn projects_and_locks() {
    let index = Index::new();
    index.add("alpha", "1.0", &[]);
    let Some(context) = Context::with_uv(&[], Path::new("/nonexistent")) else {
        return;
    };
    let project = format!(
        "[project]\nname = \"shop\"\nversion = \"1.0\"\nrequires-python = \">=3.10\"\ndependencies = [\"alpha\"]\n\
         [[tool.uv.index]]\nname = \"local\"\nurl = \"{}\"\ndefault = true\n",
        index.url()
    );
    context.write("pyproject.toml", &project);
    let locked = Command::new(uv().unwrap())
        .args(["lock", "--quiet"])
        .current_dir(context.app())
        .status()
        .unwrap();
    assert!(locked.success());
    let lock = std::fs::read_to_string(context.app().join("uv.lock")).unwrap();

    let mut explanations = String::new();
    let mut note = |what: &str| {
        let _ = writeln!(explanations, "--- {what}\n{}", said(&context));
    };
    context.set("BP_PYTHON_EXTRAS", "fast");
    note("extra");
    context.set("BP_PYTHON_EXTRAS", "");
    context.set("BP_PYTHON_GROUPS", "worker");
    note("group");
    context.set("BP_PYTHON_GROUPS", "");
    context.write("pyproject.toml", project.replace("[\"alpha\"]", "[]"));
    note("outdated");
    context.write("pyproject.toml", &project);
    context.write("uv.lock", lock.replace("version = 1\n", "version = 9\n"));
    note("newer format");
    let (before, after) = lock.split_once("sha256:").unwrap_or((&lock, ""));
    assert!(after.is_empty(), "this index gives no digests: {before}");
    context.write("uv.lock", &lock);
    std::fs::remove_file(index.folder("alpha").join("alpha-1.0-py3-none-any.whl")).unwrap();
    context.set("UV_HTTP_RETRIES", "0");
    note("gone");
    context.write(
        "pyproject.toml",
        project
            .replace("version = \"1.0\"\n", "")
            .replace("name = \"shop\"\n", ""),
    );
    note("incomplete");
    std::fs::remove_file(context.app().join("uv.lock")).unwrap();
    context.set("PIP_NO_INDEX", "0");
    context.set("PIP_FIND_LINKS", "");
    context.set("PIP_INDEX_URL", &index.url());
    context.write(
        "pyproject.toml",
        format!("{project}[tool.uv.sources]\nalpha = {{ path = \"libs/alpha\" }}\n"),
    );
    note("missing folder");
    context.write(
        "pyproject.toml",
        "[build-system]\nrequires = [\"no-such-build-tool\"]\nbuild-backend = \"x\"\n",
    );
    note("missing build tool");
    insta::assert_snapshot!("projects_and_locks", explanations);
}

/// A server that answers everything with one status; it ends with the value.
struct Refusing {
    server: Child,
    port: String,
}

impl Refusing {
    fn with(status: &str) -> Self {
        const SERVE: &str = "import http.server, sys\n\
            class Answer(http.server.BaseHTTPRequestHandler):\n\
            \x20   def do_GET(self): self.send_error(int(sys.argv[1]))\n\
            \x20   def log_message(self, *_): pass\n\
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answer)\n\
            print(server.server_port, flush=True)\n\
            server.serve_forever()\n";
        let mut server = Command::new("python3")
            .args(["-c", SERVE, status])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut port)
            .unwrap();
        let port = port.trim().to_owned();
        Self { server, port }
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn an_index_that_wants_a_password() {
    let Some(context) = Context::with_uv(
        &[("requirements.txt", "alpha\n")],
        Path::new("/nonexistent"),
    ) else {
        return;
    };
    let index = Refusing::with("401");
    context.set("PIP_NO_INDEX", "0");
    context.set("PIP_FIND_LINKS", "");
    context.set(
        "PIP_INDEX_URL",
        &format!("http://me:s3cr3t@127.0.0.1:{}/simple", index.port),
    );
    context.set("UV_HTTP_RETRIES", "0");
    let failed = context.build();
    assert!(!failed.stdout.contains("s3cr3t"), "{}", failed.stdout);
    let explanation = failed.explanation();
    assert!(
        explanation.starts_with("[Error: The package index refused access]"),
        "{explanation}"
    );
}
