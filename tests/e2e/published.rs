//! What goes to a registry with an image straight from its build.

use crate::BINARY;
use crate::places::built;
use crate::registry::{Registry, beside_registry};
use serde_json::Value;
use std::fs;
use test_support::{Need, TestContext, Who, met};

fn provenance(t: &TestContext, target: &str, key: &str, public: &str) -> Value {
    let words = ["sign", target, "--key", key, "--attest", "provenance"];
    t.slugc().args(words).run().success();
    let words = [
        "verify",
        target,
        "--key",
        public,
        "--attest",
        "provenance",
        "--json",
    ];
    t.slugc().args(words).run().success().json()
}

fn check_attachments(who: Who) {
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    let registry = Registry::start(&t);
    let app = t.fixture("worker-only");
    let names = ["1", "2"].map(|tag| format!("{}/team/shop:{tag}", registry.host));
    let build = |more: &[&str]| t.slugc_in(&app).args(["build", "."]).args(more).run();
    // Said before anything is built.
    let folder = format!("oci:{}", t.scratch().join("layout").display());
    for more in [
        &["--sbom"][..],
        &["--provenance", "-t", "shop:1"],
        &["--sbom", "-o", &folder],
    ] {
        build(more)
            .failure(2)
            .says(&["registries only"])
            .never_says(&["Building"]);
    }
    let attached = [
        "Attached the SBOM as CycloneDX",
        "Attached the SBOM as SPDX",
        "Attached the provenance",
    ];
    let both = ["--sbom", "--provenance"];
    let first = [&["-t", &names[0], "--publish", "-o", &folder][..], &both].concat();
    let digest = build(&first).success().says(&attached).digest();
    let read = |name: &str| t.slugc().args(["sbom", name]).run().success().json();
    assert_eq!(read(&names[0])["bomFormat"], "CycloneDX");
    // Nothing changed; the place is another one.
    let second = [&["-o", &names[1]][..], &both].concat();
    let again = build(&second)
        .success()
        .says(&attached)
        .says(&["up to date"]);
    assert_eq!(again.digest(), digest);
    let only_sbom = build(&["-o", &names[1], "--sbom"]).success();
    only_sbom
        .says(&["Attached the SBOM"])
        .never_says(&["Attached the provenance"]);
}

/// The same source is the same image in two apps; each has a provenance of its own. A revision that changes no file
/// has one, too.
fn check_provenance(who: Who) {
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    let registry = Registry::start(&t);
    let (app, digest) = built(&t, &[]);
    let target = format!("{}/team/shop:1", registry.host);
    let key = t.home().join("k.key").display().to_string();
    let public = t.home().join("k.pub").display().to_string();
    t.slugc()
        .args(["sign", "--generate-key", "--key", &key])
        .run()
        .success();
    let same = t
        .slugc_in(&app)
        .args(["build", ".", "-a", "twin"])
        .run()
        .success()
        .digest();
    assert_eq!(same, digest);
    for name in [app.name(), "twin"] {
        let push = ["push", &target, "-a", name, "--provenance"];
        t.slugc().args(push).run().success();
        let records = fs::read(t.store().join("apps").join(name).join("provenance.json")).unwrap();
        let records: Value = serde_json::from_slice(&records).unwrap();
        assert_eq!(records["builds"][0]["app"], name);
    }
    let newest = provenance(&t, &target, &key, &public);
    let parameters = "/predicate/buildDefinition/externalParameters";
    assert_eq!(newest.pointer(parameters).unwrap()["app"], "twin");

    if !met(&Need::Program("git")) {
        return;
    }
    app.git(&["init", "-q"]);
    app.git(&["add", "."]);
    for message in ["one", "two"] {
        app.git(&["commit", "-qm", message, "--allow-empty"]);
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["up to date"]);
        t.slugc_in(&app).args(["push", &target]).run().success();
        let head = app.git(&["rev-parse", "HEAD"]);
        let stated = provenance(&t, &target, &key, &public);
        let commit = stated.pointer(&format!("{parameters}/source/digest/gitCommit"));
        assert_eq!(commit.unwrap().as_str(), Some(head.as_str()));
    }
}

beside_registry! {
    check_attachments => builds_attach_as_root, builds_attach_as_plain_user;
    check_provenance => provenance_tells_app_and_revision_as_root, provenance_tells_app_and_revision_as_plain_user;
}
