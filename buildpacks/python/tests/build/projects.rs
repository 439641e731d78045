//! Projects with other files than `requirements.txt`. Locks name the index that they were made with, so each
//! is made here, by the tool itself, with an index on the loopback address.

use crate::context::{Context, contents, traces, uv};
use crate::index::Index;
use crate::packages::backend;
use std::path::Path;
use std::process::Command;

const PROJECT: &str = "[project]\nname = \"shop\"\nversion = \"0.1.0\"\nrequires-python = \">=3.10\"\n\
dependencies = [\"alpha\"]\n\
[project.optional-dependencies]\nfast = [\"gamma\"]\n\
[dependency-groups]\ndev = [\"delta\"]\nworker = [\"delta\"]\n";

fn uv_index(index: &Index) -> String {
    format!(
        "[[tool.uv.index]]\nname = \"local\"\nurl = \"{}\"\ndefault = true\n",
        index.url()
    )
}

/// Runs a tool in the app's folder, as a developer does.
#[track_caller]
fn run(context: &Context, program: &Path, arguments: &[&str], variables: &[(&str, &str)]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(context.app())
        .envs(variables.iter().copied())
        .env("HOME", context.app().parent().unwrap().join("home"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[track_caller]
fn uv_lock(context: &Context) {
    run(context, &uv().unwrap(), &["lock", "--quiet"], &[]);
}

/// The project with its `uv.lock`; `None`: there is no uv here, which the test's output then says.
#[track_caller]
fn locked_by_uv(index: &Index) -> Option<Context> {
    let project = format!("{PROJECT}{}", uv_index(index));
    let context = Context::with_uv(&[("pyproject.toml", &project)], Path::new("/nonexistent"))?;
    uv_lock(&context);
    Some(context)
}

#[test]
fn a_lock_of_uv() {
    let index = Index::with_alpha();
    let Some(context) = locked_by_uv(&index) else {
        return;
    };
    let built = context.build().success();
    assert!(
        built.stdout.contains("Installing uv.lock with uv "),
        "{}",
        built.stdout
    );
    assert_eq!(context.run("alpha", &[]).stdout, "alpha 1.0\n");
    assert!(context.has("beta") && !context.has("gamma") && !context.has("delta"));
    assert!(!context.app().join(".venv").exists());

    let before = traces(&context.venv());
    context.write("main.py", "import alpha\n");
    let again = context.build().success();
    assert!(again.stdout.contains("Reusing"), "{}", again.stdout);
    assert_eq!(traces(&context.venv()), before);

    // Extras and groups come and go.
    context.set("BP_PYTHON_EXTRAS", "fast");
    context.set("BP_PYTHON_GROUPS", "worker");
    context.build().success();
    assert!(context.has("gamma") && context.has("delta"));
    let updated = contents(&context.venv());
    context.forget_layers();
    context.build().success();
    assert_eq!(updated, contents(&context.venv()));
    context.set("BP_PYTHON_EXTRAS", "");
    context.set("BP_PYTHON_GROUPS", "");
    context.build().success();
    assert!(!context.has("gamma") && !context.has("delta"));

    // A lock that does not fit stops the build; the lock made anew is enough to go on.
    context.write(
        "pyproject.toml",
        format!("{PROJECT}{}", uv_index(&index)).replace("[\"alpha\"]", "[\"alpha\", \"gamma\"]"),
    );
    let outdated = context.build();
    assert!(outdated.stdout.contains("needs to be updated"));
    assert!(
        outdated
            .explanation()
            .starts_with("[Error: uv.lock does not fit pyproject.toml]")
    );
    uv_lock(&context);
    context.build().success();
    assert!(context.has("gamma"));
}

#[test]
fn packages_of_a_workspace_are_built_and_rebuilt() {
    let index = Index::with_alpha();
    let Some(context) = Context::with_uv(&[], Path::new("/nonexistent")) else {
        return;
    };
    let package = |name: &str, more: &str| {
        format!(
            "[project]\nname = \"{name}\"\nversion = \"1.0\"\nrequires-python = \">=3.10\"\n{more}\
             [build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"
        )
    };
    context.write(
        "pyproject.toml",
        format!(
            "{PROJECT}[tool.uv.workspace]\nmembers = [\"libs/*\"]\n[tool.uv.sources]\nlibrary = {{ workspace = true }}\n{}",
            uv_index(&index)
        )
        .replace("[\"alpha\"]", "[\"alpha\", \"library\"]"),
    );
    context.write("libs/library/pyproject.toml", package("library", ""));
    let notes = "open(\"built.txt\", \"w\").close()\n";
    context.write(
        "libs/library/backend.py",
        backend("library").replace("    name = ", &format!("    {notes}    name = ")),
    );
    context.write("libs/library/source.py", "answer = 1\n");
    uv_lock(&context);
    context.build().success();
    let ask = ["-c", "import library; print(library.answer)"];
    assert_eq!(context.run("python", &ask).stdout, "1\n");
    assert!(
        !context.app().join("libs/library/built.txt").exists(),
        "what a build leaves beside the sources is taken away"
    );

    context.write("libs/library/source.py", "answer = 2\n");
    context.build().success();
    assert_eq!(context.run("python", &ask).stdout, "2\n");
    let updated = contents(&context.venv());
    context.forget_layers();
    context.build().success();
    let anew = contents(&context.venv());
    assert_eq!(updated, anew);
    assert_eq!(context.run("python", &ask).stdout, "2\n");
}

#[test]
fn projects_without_a_lock() {
    let index = Index::with_alpha();
    let Some(context) = Context::with_uv(&[("pyproject.toml", PROJECT)], Path::new("/nonexistent"))
    else {
        return;
    };
    context.set("PIP_NO_INDEX", "0");
    context.set("PIP_FIND_LINKS", "");
    context.set("PIP_INDEX_URL", &index.url());
    // No build system: an app, not a package.
    let built = context.build().success();
    assert!(
        built.stdout.contains("Installing pyproject.toml with uv "),
        "{}",
        built.stdout
    );
    assert!(context.has("alpha") && context.has("beta") && !context.has("gamma"));
    context.set("BP_PYTHON_EXTRAS", "fast");
    context.set("BP_PYTHON_GROUPS", "worker");
    context.build().success();
    assert!(context.has("gamma") && context.has("delta"));
    context.set("BP_PYTHON_EXTRAS", "");
    context.set("BP_PYTHON_GROUPS", "");

    // A package, by uv and by pip.
    context.write(
        "pyproject.toml",
        "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
    );
    context.write("backend.py", backend("shop"));
    context.write("source.py", "answer = 1\n");
    let ask = ["-c", "import shop; print(shop.answer)"];
    context.build().success();
    assert_eq!(context.run("python", &ask).stdout, "1\n");
    assert!(!context.has("alpha"));
    context.write("source.py", "answer = 2\n");
    context.build().success();
    assert_eq!(context.run("python", &ask).stdout, "2\n");
    context.set("BP_PYTHON_INSTALLER", "pip");
    let by_pip = context.build().success();
    assert!(by_pip.stdout.contains("with pip "), "{}", by_pip.stdout);
    assert_eq!(context.run("python", &ask).stdout, "2\n");
}

#[test]
fn a_lock_for_everybody() {
    let index = Index::with_alpha();
    let Some(context) = locked_by_uv(&index) else {
        return;
    };
    let export = [
        "export",
        "--quiet",
        "--no-default-groups",
        "-o",
        "pylock.toml",
    ];
    run(&context, &uv().unwrap(), &export, &[]);
    // Two locks: the order is explained, and can be overridden.
    let first = context.build().success();
    assert!(
        first
            .stdout
            .contains("Installing from uv.lock, which comes first among: uv.lock, pylock.toml."),
        "{}",
        first.stdout
    );
    context.set("BP_PACKAGE_MANAGER", "pylock");
    let second = context.build().success();
    assert!(
        second.stdout.contains(
            "Installing from pylock.toml, as BP_PACKAGE_MANAGER says; not used: uv.lock."
        ),
        "{}",
        second.stdout
    );
    assert!(context.has("beta") && !context.has("delta"));
    let before = contents(&context.venv());
    context.forget_layers();
    context.build().success();
    assert_eq!(before, contents(&context.venv()));
}

#[test]
fn a_script_with_its_needs() {
    let index = Index::with_alpha();
    let script = format!(
        "# /// script\n# requires-python = \">=3.10\"\n# dependencies = [\"alpha\"]\n#\n# [[tool.uv.index]]\n\
         # url = \"{}\"\n# default = true\n# ///\nimport alpha\nalpha.main()\n",
        index.url()
    );
    let Some(context) = Context::with_uv(&[("job.py", &script)], Path::new("/nonexistent")) else {
        return;
    };
    context.set("PIP_NO_INDEX", "0");
    context.set("PIP_FIND_LINKS", "");
    context.build().success();
    assert_eq!(context.run("python", &["job.py"]).stdout, "alpha 1.0\n");
    context.write("job.py", format!("{script}alpha.main()\n"));
    let again = context.build().success();
    assert!(again.stdout.contains("Reusing"), "{}", again.stdout);
    // With a lock, the versions of the lock.
    run(
        &context,
        &uv().unwrap(),
        &["lock", "--quiet", "--script", "job.py"],
        &[],
    );
    index.add("beta", "1.1", &[]);
    context.build().success();
    assert_eq!(context.run("beta", &[]).stdout, "beta 1.0\n");
    std::fs::remove_file(context.app().join("job.py.lock")).unwrap();
    context.set("BP_PYTHON_REFRESH", "1");
    context.build().success();
    assert_eq!(context.run("beta", &[]).stdout, "beta 1.1\n");
}
