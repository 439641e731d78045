//! Locks of Poetry, PDM and Pipenv, each made and installed by the tool itself, which comes from this machine's
//! package index; where there is none, the tests say so.

use crate::context::{Context, Finished, contents, skip, traces};
use crate::index::Index;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An app whose lock is not made yet: the build fetches the tool and fails with the lock.
fn app(files: &[(&str, &str)], tool: &str) -> Option<(Context, PathBuf, Finished)> {
    let context = Context::with_uv(files, Path::new("/nonexistent"))?;
    context.set("PIP_NO_INDEX", "0");
    context.set("PIP_FIND_LINKS", "");
    let failed = context.build();
    let program = context.layers().join(tool).join("venv/bin").join(tool);
    if !program.is_file() {
        skip(&format!("{tool} can't be fetched here\n{}", failed.stdout));
        return None;
    }
    Some((context, program, failed))
}

#[track_caller]
fn lock(context: &Context, program: &Path, arguments: &[&str]) {
    for file in ["poetry.lock", "pdm.lock", "Pipfile.lock"] {
        let _ = std::fs::remove_file(context.app().join(file));
    }
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(context.app())
        .env("HOME", scratch.path())
        .env("POETRY_KEYRING_ENABLED", "false")
        .env("PIPENV_IGNORE_VIRTUALENVS", "1")
        .env("PDM_CHECK_UPDATE", "0")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let _ = std::fs::remove_file(context.app().join(".pdm-python"));
}

/// Builds, builds again without a write, and once more from nothing: alpha and what it needs, no extra and no group.
#[track_caller]
fn thrice(context: &Context) {
    context.build().success();
    let before = traces(&context.venv());
    let again = context.build().success();
    assert!(again.stdout.contains("Reusing"), "{}", again.stdout);
    assert_eq!(traces(&context.venv()), before);
    let first = contents(&context.venv());
    std::fs::rename(
        context.layers().join("venv"),
        context.layers().join("../venv-before"),
    )
    .unwrap();
    std::fs::remove_file(context.layers().join("venv.toml")).unwrap();
    context.build().success();
    assert_eq!(first, contents(&context.venv()));
    assert_eq!(context.run("alpha", &[]).stdout, "alpha 1.0\n");
    assert!(context.has("beta") && !context.has("gamma") && !context.has("delta"));
}

#[track_caller]
fn refused(built: Finished, title: &str) {
    let explanation = built.explanation();
    assert!(
        explanation.starts_with(&format!("[Error: {title}]")),
        "{explanation}"
    );
}

const PROJECT: &str = "[project]\nname = \"shop\"\nversion = \"0.1.0\"\nrequires-python = \">=3.10\"\n\
dependencies = [\"alpha\"]\n\
[project.optional-dependencies]\nfast = [\"gamma\"]\n";

#[test]
fn poetry() {
    let index = Index::with_alpha();
    let project = format!(
        "{PROJECT}[tool.poetry]\npackage-mode = false\n[tool.poetry.group.dev.dependencies]\ndelta = \"*\"\n\
         [[tool.poetry.source]]\nname = \"local\"\nurl = \"{}\"\npriority = \"primary\"\n",
        index.url()
    );
    let files = [("pyproject.toml", project.as_str()), ("poetry.lock", "")];
    let Some((context, program, failed)) = app(&files, "poetry") else {
        return;
    };
    refused(failed, "poetry.lock does not fit pyproject.toml");
    lock(&context, &program, &["lock", "--no-interaction"]);
    thrice(&context);
    context.set("BP_PYTHON_EXTRAS", "fast");
    context.set("BP_PYTHON_GROUPS", "dev");
    context.build().success();
    assert!(context.has("gamma") && context.has("delta"));

    let changed = project.replace("[\"alpha\"]", "[\"alpha\", \"gamma\"]");
    context.write("pyproject.toml", changed);
    refused(context.build(), "poetry.lock does not fit pyproject.toml");
}

#[test]
fn pdm() {
    let index = Index::with_alpha();
    let project = format!(
        "{PROJECT}[dependency-groups]\ndev = [\"delta\"]\n[tool.pdm]\ndistribution = false\n\
         [[tool.pdm.source]]\nname = \"local\"\nurl = \"{}\"\nverify_ssl = false\n\
         [tool.pdm.resolution]\nrespect-source-order = true\n",
        index.url()
    );
    let files = [("pyproject.toml", project.as_str()), ("pdm.lock", "")];
    let Some((context, program, failed)) = app(&files, "pdm") else {
        return;
    };
    refused(failed, "pdm.lock does not fit pyproject.toml");
    lock(&context, &program, &["lock", "-G", ":all"]);
    thrice(&context);
    context.set("BP_PYTHON_EXTRAS", "fast");
    context.build().success();
    assert!(context.has("gamma") && !context.has("delta"));
    context.set("BP_PYTHON_GROUPS", "dev");
    context.build().success();
    assert!(context.has("gamma") && context.has("delta"));

    let changed = project.replace("[\"alpha\"]", "[\"alpha\", \"gamma\"]");
    context.write("pyproject.toml", changed);
    refused(context.build(), "pdm.lock does not fit pyproject.toml");
}

#[test]
fn pipenv() {
    let index = Index::with_alpha();
    let pipfile = format!(
        "[[source]]\nurl = \"{}\"\nverify_ssl = false\nname = \"local\"\n\
         [packages]\nalpha = \"*\"\n[dev-packages]\ndelta = \"*\"\n[worker]\ngamma = \"*\"\n",
        index.url()
    );
    let files = [
        ("Pipfile", pipfile.as_str()),
        (
            "Pipfile.lock",
            "{\"_meta\": {\"hash\": {\"sha256\": \"0\"}}, \"default\": {}, \"develop\": {}}",
        ),
    ];
    let Some((context, program, failed)) = app(&files, "pipenv") else {
        return;
    };
    refused(failed, "Pipfile.lock does not fit Pipfile");
    let categories = "packages dev-packages worker";
    lock(&context, &program, &["lock", "--categories", categories]);
    thrice(&context);
    context.set("BP_PYTHON_GROUPS", "worker");
    context.build().success();
    assert!(context.has("gamma") && !context.has("delta"));
}

#[test]
fn another_uv() {
    let packages = tempfile::tempdir().unwrap();
    crate::packages::wheel(packages.path(), "alpha", "1.0", &[], &[]);
    let Some(context) = Context::with_uv(&[("requirements.txt", "alpha\n")], packages.path())
    else {
        return;
    };
    context.set("BP_UV_VERSION", "one --index-url=http://127.0.0.1:9");
    insta::assert_snapshot!("uv_version", context.build().explanation());
    context.set("BP_UV_VERSION", "0.13.8");
    context.set("PIP_NO_INDEX", "0");
    let built = context.build();
    if built.stdout.contains("error sending request") {
        skip("no package index");
        return;
    }
    let built = built.success();
    assert!(
        built
            .stdout
            .contains("Installing requirements.txt with uv 0.13.8."),
        "{}",
        built.stdout
    );
    assert_eq!(context.run("alpha", &[]).stdout, "alpha 1.0\n");
}
