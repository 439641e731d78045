//! `slugc sign` and `slugc verify`.

use crate::BINARY;
use crate::places::built;
use crate::registry::Registry;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use test_support::{Need, TestContext, Who, met, output_of, requires};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn curl(words: &[&str], scratch: &Path) -> String {
    output_of(
        "curl",
        &[&["-sS", "--fail-with-body"][..], words].concat(),
        scratch,
    )
}

#[expect(
    clippy::too_many_lines,
    reason = "one image and the fate of its signatures"
)]
fn check(who: Who) {
    let Some(t) = TestContext::with_own_store(BINARY, who) else {
        return;
    };
    let registry = Registry::start(&t);
    let (app, digest) = built(&t, &[]);
    let file = |name: &str| t.home().join(name).display().to_string();
    let (key, public) = (file("ours.key"), file("ours.pub"));
    let (closed, closed_public) = (file("closed.key"), file("closed.pub"));
    t.slugc()
        .args(["sign", "--generate-key", "--key", &key])
        .run()
        .success()
        .says(&[&public, "not closed with a password"]);
    let mode = fs::metadata(&key).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // A key is never written over.
    t.slugc()
        .args(["sign", "--generate-key", "--key", &key])
        .run()
        .failure(3)
        .says(&[&key]);
    t.slugc()
        .args(["sign", "--generate-key", "--key", &closed])
        .env("COSIGN_PASSWORD", "s3cret")
        .run()
        .success();
    let text = fs::read_to_string(&closed).unwrap();
    assert!(
        text.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----"),
        "{text}"
    );

    let target = format!("{}/team/shop:1", registry.host);
    let sign = |key: &str| t.slugc().args(["sign", &target, "--key", key]);
    let verify = |key: &str| t.slugc().args(["verify", &target, "--key", key]);
    sign(&key)
        .run()
        .failure(3)
        .says(&["there is no image", &target]);
    t.slugc_in(&app).args(["push", &target]).run().success();
    verify(&public)
        .run()
        .failure(8)
        .says(&["has no signature", &digest]);
    sign(&key).run().success().says(&["Signed with", &digest]);
    sign(&key).run().success().says(&["already"]);
    verify(&public)
        .run()
        .success()
        .says(&["Verified with", &digest]);
    verify(&closed_public)
        .run()
        .failure(8)
        .says(&["none of its 1 signatures"]);
    sign(&closed)
        .env("COSIGN_PASSWORD", "wrong")
        .run()
        .failure(3)
        .says(&["password", "COSIGN_PASSWORD"])
        .never_says(&["wrong"]);
    sign(&closed)
        .env("COSIGN_PASSWORD", "s3cret")
        .run()
        .success();
    verify(&closed_public).run().success();
    verify(&public).run().success();
    verify(&key)
        .run()
        .failure(3)
        .says(&["private key", "public one"]);
    verify(&file("nothing.pub"))
        .run()
        .failure(3)
        .says(&["nothing.pub"]);
    t.slugc()
        .args(["verify", "oci:somewhere", "--key", &public])
        .run()
        .failure(2)
        .says(&["in no registry"]);

    // Another image under the same tag is not signed, not even with the first one's signature moved to it.
    let signatures = |digest: &str| {
        let tag = format!("{}.sig", digest.replace(':', "-"));
        format!("http://{}/v2/team/shop/manifests/{tag}", registry.host)
    };
    let accept = format!("Accept: {MANIFEST}");
    let manifest = curl(&["-H", &accept, &signatures(&digest)], t.scratch());
    app.append("worker.py", "\n# changed\n");
    let other = t
        .slugc_in(&app)
        .args(["build", "."])
        .run()
        .success()
        .digest();
    t.slugc_in(&app).args(["push", &target]).run().success();
    verify(&public)
        .run()
        .failure(8)
        .says(&["has no signature", &other]);
    let put = |manifest: &str, url: &str| {
        let body = t.scratch().join("manifest.json");
        fs::write(&body, manifest).unwrap();
        let body = format!("@{}", body.display());
        let kind = format!("Content-Type: {MANIFEST}");
        curl(
            &["-X", "PUT", "-H", &kind, "--data-binary", &body, url],
            t.scratch(),
        );
    };
    put(&manifest, &signatures(&other));
    verify(&public)
        .run()
        .failure(8)
        .says(&["is another image", &digest, &other]);
    // Nor does a signature that was changed count.
    let changed = manifest
        .replace("cosign/signature\":\"MEU", "cosign/signature\":\"MEQ")
        .replace("cosign/signature\":\"MEQ", "cosign/signature\":\"MEA");
    let changed = changed.replace("cosign/signature\":\"MEY", "cosign/signature\":\"MEA");
    assert_ne!(changed, manifest);
    put(&changed, &signatures(&other));
    verify(&public)
        .run()
        .failure(8)
        .says(&["none of its 2 signatures"]);
    // openssl agrees with what was signed.
    if met(&Need::Program("openssl")) {
        let document: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let layer = &document["layers"][0];
        let payload = t.scratch().join("payload");
        let blob = format!(
            "http://{}/v2/team/shop/blobs/{}",
            registry.host,
            layer["digest"].as_str().unwrap()
        );
        fs::write(&payload, curl(&[&blob], t.scratch())).unwrap();
        let signature = t.scratch().join("signature");
        let base64 = layer["annotations"]["dev.cosignproject.cosign/signature"]
            .as_str()
            .unwrap();
        fs::write(t.scratch().join("base64"), base64).unwrap();
        let words = [
            "enc",
            "-d",
            "-A",
            "-base64",
            "-in",
            "base64",
            "-out",
            "signature",
        ];
        output_of("openssl", &words, t.scratch());
        let checked = Command::new("openssl")
            .args(["dgst", "-sha256", "-verify", &public, "-signature"])
            .args([&signature, &payload])
            .output()
            .unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

#[test]
fn keys_sign_and_verify_as_root() {
    requires!(
        Need::Program("docker-registry"),
        Need::Program("curl"),
        Need::Root
    );
    check(Who::Root);
}

#[test]
fn keys_sign_and_verify_as_plain_user() {
    requires!(Need::Program("docker-registry"), Need::Program("curl"));
    check(Who::Plain);
}
