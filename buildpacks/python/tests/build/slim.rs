//! What is left out where the user asks for it.

use crate::context::{Context, contents};
use crate::django::{RUNNING, SETTINGS, STANDS, build, project_with};
use crate::packages::wheel;

/// Adds up what each package's list of files says, which has to be what is there.
const HONEST: &str = r#"
import base64, csv, hashlib, importlib.metadata as m
for dist in m.distributions():
    for file in dist.files:
        if file.hash:
            content = file.locate().read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (file.hash.value, file.size) == (digest, len(content)), file
"#;

#[test]
fn tests_and_bytecode() {
    let packages = tempfile::tempdir().unwrap();
    let more = [
        ("alpha/tests/__init__.py", ""),
        ("alpha/tests/data/big.txt", "0123456789"),
        ("alpha/test/client.py", "x = 1\n"),
    ];
    wheel(packages.path(), "alpha", "1.0", &[], &more);
    wheel(packages.path(), "pip", "99.0", &[], &[]);
    wheel(
        packages.path(),
        "beta",
        "1.0",
        &[],
        &[("beta/tests/x.py", "")],
    );
    let Some(context) = Context::with_uv(&[("requirements.txt", "alpha\npip\n")], packages.path())
    else {
        return;
    };
    context.set("BP_PYTHON_SLIM", "documentation");
    let explanation = context.build().explanation();
    assert!(
        explanation.starts_with("[Error: BP_PYTHON_SLIM is not understood]"),
        "{explanation}"
    );

    context.set("BP_PYTHON_SLIM", "1");
    let said = context.build().success().stdout;
    assert!(said.contains("Left out 0.0 MB (BP_PYTHON_SLIM)."), "{said}");
    assert!(context.has("alpha") && context.has("alpha.test.client"));
    assert!(!context.has("alpha.tests") && !context.has("pip"));
    context.run("python", &["-c", HONEST]).success();
    let first = contents(&context.venv());
    assert!(first.keys().any(|path| path.ends_with("__pycache__")));
    assert!(!first.keys().any(|path| path.ends_with("alpha/tests")));

    // Nothing is done twice, and another requirement is treated as the first ones.
    context.build().success();
    assert_eq!(contents(&context.venv()), first);
    context.write("requirements.txt", "alpha\nbeta\n");
    context.build().success();
    assert!(context.has("beta") && !context.has("beta.tests") && !context.has("alpha.tests"));
    context.run("python", &["-c", HONEST]).success();

    // The same environment from nothing, and all of it when nobody asks any more.
    let updated = contents(&context.venv());
    context.forget_layers();
    context.build().success();
    assert_eq!(contents(&context.venv()), updated);
    context.set("BP_PYTHON_SLIM", "tests,bytecode");
    context.build().success();
    let bare = contents(&context.venv());
    assert!(!bare.keys().any(|path| path.ends_with("__pycache__")));
    context.set("BP_PYTHON_SLIM", "0");
    context.build().success();
    assert!(context.has("alpha.tests") && context.has("beta.tests"));
}

/// Django runs on what the image gets, and a change of requirements has it run once.
#[test]
fn django_sees_what_is_shipped() {
    const REQUIREMENTS: &str = "django>=5.2,<5.3\nalpha\n";
    let packages = tempfile::tempdir().unwrap();
    let tests = [("alpha/tests/__init__.py", "")];
    wheel(packages.path(), "alpha", "1.0", &[], &tests);
    wheel(packages.path(), "beta", "1.0", &[], &[]);
    let Some(context) = project_with(REQUIREMENTS, packages.path()) else {
        return;
    };
    let settings = format!("{SETTINGS}\nimport alpha.tests\n");
    context.write("site_/settings.py", settings);
    build(&context, RUNNING);
    context.set("BP_PYTHON_SLIM", "1");
    let explanation = context.build().explanation();
    assert!(explanation.contains("alpha.tests"), "{explanation}");

    context.write("site_/settings.py", SETTINGS);
    build(&context, RUNNING);
    build(&context, STANDS);
    context.write("requirements.txt", format!("{REQUIREMENTS}beta\n"));
    build(&context, RUNNING);
    build(&context, STANDS);
}
