//! Signed statements on images: `slugc sign --attest` and `slugc verify --attest`.

use crate::BINARY;
use crate::places::built;
use crate::registry::{Registry, beside_registry};
use serde_json::Value;
use std::fs;
use std::process::Command;
use test_support::{Need, TestContext, Who, met, output_of};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SLSA: &str = "https://slsa.dev/provenance/v1";

/// One image in a registry, and two pairs of keys.
struct Scene {
    t: TestContext,
    registry: Registry,
    target: String,
    digest: String,
    key: String,
    public: String,
    others_key: String,
    others_public: String,
}

impl Scene {
    fn new(who: Who) -> Option<Self> {
        let t = TestContext::with_own_store(BINARY, who)?;
        let registry = Registry::start(&t);
        let (app, digest) = built(&t, &[]);
        let target = format!("{}/team/shop:1", registry.host);
        t.slugc_in(&app).args(["push", &target]).run().success();
        let file = |name: &str| t.home().join(name).display().to_string();
        let (key, others_key) = (file("ours.key"), file("others.key"));
        for key in [&key, &others_key] {
            let call = t.slugc().args(["sign", "--generate-key", "--key", key]);
            call.run().success();
        }
        Some(Self {
            public: file("ours.pub"),
            others_public: file("others.pub"),
            t,
            registry,
            target,
            digest,
            key,
            others_key,
        })
    }

    fn sign(&self, more: &[&str]) -> test_support::Finished {
        let words = ["sign", &self.target, "--key", &self.key];
        self.t.slugc().args(words).args(more).run()
    }

    fn verify(&self, key: &str, more: &[&str]) -> test_support::Finished {
        let words = ["verify", &self.target, "--key", key];
        self.t.slugc().args(words).args(more).run()
    }

    fn address(&self, path: &str) -> String {
        format!("http://{}/v2/team/shop/{path}", self.registry.host)
    }

    fn get(&self, path: &str) -> String {
        let accept = format!("Accept: {MANIFEST}, application/vnd.oci.image.index.v1+json, */*");
        let words = [
            "-sS",
            "--fail-with-body",
            "-H",
            &accept,
            &self.address(path),
        ];
        output_of("curl", &words, self.t.scratch())
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).unwrap()
    }

    fn put(&self, manifest: &str, tag: &str) {
        let body = self.t.scratch().join("manifest.json");
        fs::write(&body, manifest).unwrap();
        let body = format!("@{}", body.display());
        let kind = format!("Content-Type: {MANIFEST}");
        let address = self.address(&format!("manifests/{tag}"));
        let words = [
            "-sS",
            "--fail-with-body",
            "-X",
            "PUT",
            "-H",
            &kind,
            "--data-binary",
        ];
        output_of(
            "curl",
            &[&words[..], &[&body, &address]].concat(),
            self.t.scratch(),
        );
    }

    /// The statements that a verification printed.
    fn statements(&self, kind: &str) -> Vec<Value> {
        let shown = self.verify(&self.public, &["--attest", kind, "--json"]);
        let lines = shown.success().stdout;
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn tag(digest: &str) -> String {
    format!("{}.att", digest.replace(':', "-"))
}

fn check_tagged(who: Who) {
    let Some(scene) = Scene::new(who) else {
        return;
    };
    let (public, digest) = (&scene.public, &scene.digest);
    scene
        .verify(public, &["--attest", "provenance"])
        .failure(8)
        .says(&["has no signed provenance", digest, "--attest provenance"]);
    let all = ["--attest", "provenance,cyclonedx", "--attest", "spdx"];
    scene.sign(&all).success().says(&[
        "Signed with",
        "Signed the provenance with",
        "Signed the SBOM as CycloneDX with",
        "Signed the SBOM as SPDX with",
        digest,
    ]);
    // The same statements are the same signatures.
    let before = scene.get(&format!("manifests/{}", tag(digest)));
    scene
        .sign(&all)
        .success()
        .says(&["Signed the provenance with", "already"]);
    assert_eq!(scene.get(&format!("manifests/{}", tag(digest))), before);
    scene.verify(public, &all).success().says(&[
        "Verified the provenance with",
        "Verified the SBOM as SPDX with",
        digest,
    ]);
    scene.verify(public, &[]).success();
    scene
        .verify(&scene.others_public, &["--attest", "provenance"])
        .failure(8)
        .says(&["none of its 1 signed statements (provenance)"]);

    // As cosign writes them.
    let manifest: Value = serde_json::from_str(&before).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for layer in layers {
        assert_eq!(layer["mediaType"], ENVELOPE);
        assert_eq!(
            layer["annotations"]["dev.cosignproject.cosign/signature"],
            ""
        );
    }
    assert_eq!(layers[0]["annotations"]["predicateType"], SLSA);
    let [provenance] = &scene.statements("provenance")[..] else {
        panic!("one statement")
    };
    assert_eq!(provenance["predicateType"], SLSA);
    assert_eq!(
        format!(
            "sha256:{}",
            provenance["subject"][0]["digest"]["sha256"]
                .as_str()
                .unwrap()
        ),
        *digest
    );
    let sbom = &scene.statements("cyclonedx")[0];
    assert_eq!(sbom["predicate"]["bomFormat"], "CycloneDX");
    assert_eq!(sbom["predicateType"], "https://cyclonedx.org/bom");
    let sbom = &scene.statements("spdx")[0];
    assert_eq!(sbom["predicate"]["spdxVersion"], "SPDX-2.3");
    check_with_openssl(&scene, &layers[0]);

    // Statements that were moved to another image, or changed, do not count.
    let app = scene.t.fixture("procfile-duplicates");
    let other = scene.t.slugc_in(&app).args(["build", "."]).run().success();
    let other = other.digest();
    scene
        .t
        .slugc_in(&app)
        .args(["push", &scene.target])
        .run()
        .success();
    scene
        .verify(public, &["--attest", "provenance"])
        .failure(8)
        .says(&["has no signed provenance", &other]);
    scene.put(&before, &tag(&other));
    scene
        .verify(public, &["--attest", "provenance"])
        .failure(8)
        .says(&["another image", digest, &other]);
    // A key of somebody else adds to what is there.
    let words = [
        "sign",
        &scene.target,
        "--key",
        &scene.others_key,
        "--attest",
        "provenance",
    ];
    scene.t.slugc().args(words).run().success();
    scene
        .verify(&scene.others_public, &["--attest", "provenance"])
        .success();
}

/// openssl finds the signature right over what DSSE says that is signed.
fn check_with_openssl(scene: &Scene, layer: &Value) {
    if !met(&Need::Program("openssl")) {
        return;
    }
    let scratch = scene.t.scratch();
    let envelope = scene.json(&format!("blobs/{}", layer["digest"].as_str().unwrap()));
    let decode = |base64: &Value| {
        fs::write(scratch.join("base64"), base64.as_str().unwrap()).unwrap();
        let words = [
            "enc", "-d", "-A", "-base64", "-in", "base64", "-out", "decoded",
        ];
        output_of("openssl", &words, scratch);
        fs::read(scratch.join("decoded")).unwrap()
    };
    let document = decode(&envelope["payload"]);
    let kind = envelope["payloadType"].as_str().unwrap();
    assert_eq!(kind, "application/vnd.in-toto+json");
    let mut signed = format!("DSSEv1 {} {kind} {} ", kind.len(), document.len()).into_bytes();
    signed.extend(document);
    fs::write(scratch.join("signed"), signed).unwrap();
    let signature = decode(&envelope["signatures"][0]["sig"]);
    fs::write(scratch.join("signature"), signature).unwrap();
    let checked = Command::new("openssl")
        .args(["dgst", "-sha256", "-verify", &scene.public])
        .args(["-signature", "signature", "signed"])
        .current_dir(scratch)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

fn check_bundles(who: Who) {
    let Some(scene) = Scene::new(who) else {
        return;
    };
    let (public, digest) = (&scene.public, &scene.digest);
    let sign = || scene.sign(&["--bundle", "--attest", "provenance"]);
    sign()
        .success()
        .says(&["Signed with", "Signed the provenance with", digest]);
    sign().success().says(&["already"]);
    scene.verify(public, &[]).success().says(&["Verified with"]);
    scene
        .verify(public, &["--attest", "provenance"])
        .success()
        .says(&["Verified the provenance"]);
    scene
        .verify(&scene.others_public, &[])
        .failure(8)
        .says(&["none of its 1 signatures"]);
    scene
        .verify(public, &["--attest", "spdx"])
        .failure(8)
        .says(&["no signed SBOM as SPDX"]);
    assert_eq!(scene.statements("provenance")[0]["predicateType"], SLSA);

    // Debian's registry has no referrers API: the list is a tag.
    let listed = scene.json(&format!("manifests/{}", digest.replace(':', "-")));
    let entries = listed["manifests"].as_array().unwrap();
    let types: Vec<&str> = entries
        .iter()
        .map(|it| {
            it["annotations"]["dev.sigstore.bundle.predicateType"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(types, ["https://sigstore.dev/cosign/sign/v1", SLSA]);
    for entry in entries {
        assert_eq!(entry["artifactType"], BUNDLE);
        let manifest = scene.json(&format!("manifests/{}", entry["digest"].as_str().unwrap()));
        assert_eq!(manifest["subject"]["digest"], *digest);
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], BUNDLE);
        let bundle = scene.json(&format!("blobs/{}", layer["digest"].as_str().unwrap()));
        assert_eq!(bundle["mediaType"], BUNDLE);
        let hint = bundle["verificationMaterial"]["publicKey"]["hint"].as_str();
        assert_eq!(hint.unwrap().len(), 44, "{bundle}");
        assert_eq!(
            bundle["dsseEnvelope"]["payloadType"],
            "application/vnd.in-toto+json"
        );
    }
}

/// Only who built an image can state how.
fn check_refusals(who: Who) {
    let Some(scene) = Scene::new(who) else {
        return;
    };
    let attest = ["--attest", "provenance"];
    let other = TestContext::bare(BINARY, who).unwrap();
    let key = other.home().join("key");
    fs::copy(&scene.key, &key).unwrap();
    other.give(&key);
    let key = key.display().to_string();
    let words = ["sign", &scene.target, "--key", &key];
    let refused = other.slugc().args(words).args(attest).run();
    refused
        .failure(3)
        .says(&["nothing is known about the build"]);
    // That came to light before anything was signed.
    scene.verify(&scene.public, &[]).failure(8);
    // What is in it can be told by anybody.
    let signed = other.slugc().args(words).args(["--attest", "spdx"]).run();
    signed.success().says(&["Signed the SBOM as SPDX"]);
    scene.verify(&scene.public, &["--attest", "spdx"]).success();

    scene
        .sign(&["--attest", "sbom"])
        .failure(2)
        .says(&["provenance", "spdx"]);
    scene
        .verify(&scene.public, &["--json"])
        .failure(2)
        .says(&["--attest"]);
}

beside_registry! {
    check_tagged => statements_under_a_tag_as_root, statements_under_a_tag_as_plain_user;
    check_bundles => bundles_as_root, bundles_as_plain_user;
    check_refusals => refusals_as_root, refusals_as_plain_user;
}
