//! What is looked at before and after an install: secrets, names, folders, settings, whether packages fit each other.

use crate::context::Context;
use crate::packages::wheel;
use std::fmt::Write as _;
use std::fs;

#[test]
fn secrets_are_taken_out_unless_they_are_named() {
    let files = [
        ("app.py", ""),
        (".env", "KEY=1\n"),
        (".env.example", "KEY=\n"),
        ("certs/server.key", "-----BEGIN PRIVATE KEY-----\n"),
        ("certs/ca.pem", "-----BEGIN CERTIFICATE-----\n"),
    ];
    let context = Context::new(&files);
    let built = context.build().success();
    assert!(
        built.stdout.contains(
            "Left out .env, certs/server.key (secrets; to have one in the image, write !.env in .slugignore)."
        ),
        "{}",
        built.stdout
    );
    let there = |name: &str| context.app().join(name).exists();
    assert!(!there(".env") && !there("certs/server.key"));
    assert!(there(".env.example") && there("certs/ca.pem"));

    let context = Context::new(&files);
    context.write(".slugignore", "!.env\n!certs/server.key\n");
    let built = context.build().success();
    assert!(!built.stdout.contains("Left out"), "{}", built.stdout);
    assert!(context.app().join(".env").exists());
}

#[test]
fn warnings_of_files_and_folders() {
    let context = Context::new(&[
        ("app.py", ""),
        ("Procfile.txt", "web: x\n"),
        ("python-version", "3.12\n"),
        ("node_modules/x/package.json", "{}"),
        (".tox/x", ""),
        ("env/Scripts/activate.bat", ""),
        ("requirements.txt", "# ${NOT_A_LINE}\n"),
    ]);
    let built = context.build().success();
    insta::assert_snapshot!("files_and_folders", context.stable(&built.stdout));
}

#[test]
fn settings_that_are_refused() {
    let mut explanations = String::new();
    for (name, value) in [
        ("UV_CACHE_DIR", "/tmp/x"),
        ("PYTHONOPTIMIZE", "2"),
        ("PYTHONINSPECT", "1"),
        ("POETRY_VIRTUALENVS_CREATE", "false"),
        ("BP_APP_PATH", "../.."),
        ("BP_APP_PATH", "services"),
    ] {
        let context = Context::new(&[("requirements.txt", "")]);
        context.set(name, value);
        let explanation = context.build().explanation();
        let _ = writeln!(explanations, "--- {name}={value}\n{explanation}");
    }
    for (what, files) in [
        (
            "malformed Pipfile.lock",
            [
                ("Pipfile", ""),
                ("Pipfile.lock", "{\n  \"default\": {,}\n}\n"),
            ],
        ),
        (
            "a path of another machine",
            [
                ("requirements.txt", "numpy @ file:///home/conda/numpy\n"),
                ("x.py", ""),
            ],
        ),
    ] {
        let explanation = Context::new(&files).build().explanation();
        let _ = writeln!(explanations, "--- {what}\n{explanation}");
    }
    insta::assert_snapshot!("refused", explanations);
}

#[test]
fn a_project_in_a_folder() {
    let packages = tempfile::tempdir().unwrap();
    wheel(packages.path(), "alpha", "1.0", &[], &[]);
    let Some(context) = Context::with_uv(
        &[
            ("README.md", ""),
            ("services/api/requirements.txt", "alpha\n"),
            ("services/api/main.py", ""),
        ],
        packages.path(),
    ) else {
        return;
    };
    assert_eq!(context.detect().code, Some(100));
    context.set("BP_APP_PATH", "services/api");
    context.detect().success();
    let built = context.build().success();
    assert!(
        built
            .stdout
            .contains("The project is in services/api, as BP_APP_PATH says."),
        "{}",
        built.stdout
    );
    assert!(context.has("alpha"));
    assert!(!built.stdout.contains("the heaviest"), "nobody asked");
    assert!(!built.stdout.contains("The lock of the workspace"));
    context.write("services/uv.lock", "");
    let built = context.build().success();
    assert!(
        built
            .stdout
            .contains("There is a uv.lock in services, and none in the folder")
            && built.stdout.contains("BP_UV_PACKAGE=NAME"),
        "{}",
        built.stdout
    );

    context.set("BP_PYTHON_SIZES", "1");
    context.write("services/api/requirements.txt", "alpha==1.0\n");
    let built = context.build().success();
    assert!(
        built
            .stdout
            .contains("1 package, 0.0 MB; the heaviest:\n    0.0 MB  alpha 1.0\n"),
        "{}",
        built.stdout
    );
}

/// An override makes uv install what a package does not want.
#[test]
fn packages_that_do_not_fit_each_other() {
    let packages = tempfile::tempdir().unwrap();
    wheel(packages.path(), "alpha", "1.0", &["beta<2"], &[]);
    wheel(packages.path(), "beta", "2.0", &[], &[]);
    let Some(context) = Context::with_uv(
        &[
            ("requirements.txt", "alpha\n"),
            ("overrides.txt", "beta==2.0\n"),
        ],
        packages.path(),
    ) else {
        return;
    };
    context.set(
        "UV_OVERRIDE",
        context.app().join("overrides.txt").to_str().unwrap(),
    );
    let built = context.build().success();
    assert!(
        built.stdout.contains(
            "[Warning: Installed packages do not fit each other]\n\
             The package `alpha` requires `beta<2`, but `2.0` is installed"
        ),
        "{}",
        built.stdout
    );
    // Nothing changed: nobody looks again.
    let again = context.build().success();
    assert!(!again.stdout.contains("do not fit"), "{}", again.stdout);
    fs::write(context.app().join("overrides.txt"), "").unwrap();
}

/// A variable that has no value is told of before pip or uv stumbles over it.
#[test]
fn variables_of_requirements() {
    let packages = tempfile::tempdir().unwrap();
    let Some(context) = Context::with_uv(
        &[(
            "requirements.txt",
            "alpha @ git+http://${GIT_TOKEN}@127.0.0.1:9/x.git\n",
        )],
        packages.path(),
    ) else {
        return;
    };
    let failed = context.build();
    assert!(
        failed
            .stdout
            .contains("[Warning: The requirements use ${GIT_TOKEN}, which is not set]"),
        "{}",
        failed.stdout
    );
    let explanation = failed.explanation();
    assert!(
        explanation.starts_with("[Error: The host of a git repository could not be reached]"),
        "{explanation}"
    );
}

/// NLTK itself comes from the machine's package index; its data from an index of this test.
#[test]
fn data_of_nltk() {
    let index = crate::index::Index::new();
    let folder = index.folder("data");
    let packed = std::process::Command::new("python3")
        .args([
            "-c",
            "import hashlib, sys, zipfile\n\
             folder, url = sys.argv[1:]\n\
             with zipfile.ZipFile(folder + '/tiny.zip', 'w') as archive: archive.writestr('tiny/words', 'hello\\n')\n\
             content = open(folder + '/tiny.zip', 'rb').read()\n\
             open(folder + '/index.xml', 'w').write('<?xml version=\"1.0\"?><nltk_data><packages>'\n\
             '<package id=\"tiny\" name=\"Tiny\" subdir=\"corpora\" unzip=\"1\" size=\"%d\" unzipped_size=\"6\" checksum=\"%s\" '\n\
             'sha256_checksum=\"%s\" url=\"%s/data/tiny.zip\"/></packages><collections/></nltk_data>' % (len(content), \
             hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest(), url))\n",
        ])
        .arg(&folder)
        .arg(index.url())
        .status()
        .unwrap();
    assert!(packed.success());
    let files = [
        ("requirements.txt", "nltk==3.9.1\n"),
        ("nltk.txt", "tiny # ours\n"),
    ];
    let Some(context) = Context::with_uv(&files, std::path::Path::new("/nonexistent")) else {
        return;
    };
    context.set("PIP_NO_INDEX", "0");
    context.set("PIP_FIND_LINKS", "");
    context.set("BP_NLTK_INDEX", &format!("{}/data/index.xml", index.url()));
    let built = context.build();
    if built.code != Some(0) && built.stdout.contains("There is no package nltk") {
        crate::context::skip("the machine's package index has no nltk");
        return;
    }
    let built = built.success();
    assert!(built.stdout.contains("Fetching tiny."), "{}", built.stdout);
    let layer = context.layers().join("nltk-data");
    assert_eq!(
        fs::read_to_string(layer.join("corpora/tiny/words")).unwrap(),
        "hello\n"
    );
    assert!(!layer.join("corpora/tiny.zip").exists(), "kept once");
    assert_eq!(
        fs::read_to_string(layer.join("env/NLTK_DATA.override")).unwrap(),
        layer.to_str().unwrap()
    );
    let again = context.build().success();
    assert!(
        again.stdout.contains("Reusing the data"),
        "{}",
        again.stdout
    );

    context.write("nltk.txt", "tiny\nnothing\n");
    let explanation = context.build().explanation();
    assert!(
        explanation.starts_with("[Error: NLTK's data could not be fetched]")
            && explanation.contains("check its spelling"),
        "{explanation}"
    );
    // The mistake mended is enough.
    context.write("nltk.txt", "tiny\n");
    context.build().success();
}

/// One member of uv's workspace, from the workspace's lock.
#[test]
fn a_member_of_a_workspace() {
    let index = crate::index::Index::new();
    for name in ["alpha", "beta"] {
        index.add(name, "1.0", &[]);
    }
    let Some(context) = Context::with_uv(&[], std::path::Path::new("/nonexistent")) else {
        return;
    };
    let project = |name: &str, requires: &str| {
        format!(
            "[project]\nname = \"{name}\"\nversion = \"1.0\"\nrequires-python = \">=3.10\"\ndependencies = [\"{requires}\"]\n"
        )
    };
    context.write(
        "pyproject.toml",
        format!(
            "{}[tool.uv.workspace]\nmembers = [\"services/*\"]\n\
             [[tool.uv.index]]\nname = \"local\"\nurl = \"{}\"\ndefault = true\n",
            project("shop", "alpha"),
            index.url()
        ),
    );
    context.write("services/api/pyproject.toml", project("api", "beta"));
    let locked = std::process::Command::new(crate::context::uv().unwrap())
        .args(["lock", "--quiet"])
        .current_dir(context.app())
        .status()
        .unwrap();
    assert!(locked.success());
    context.build().success();
    assert!(context.has("alpha") && !context.has("beta"));
    context.set("BP_UV_PACKAGE", "api");
    context.build().success();
    assert!(context.has("beta") && !context.has("alpha"));
    context.set("BP_UV_PACKAGE", "nothing");
    let explanation = context.build().explanation();
    assert!(
        explanation.starts_with("[Error: There is no member of the workspace nothing]"),
        "{explanation}"
    );
}
