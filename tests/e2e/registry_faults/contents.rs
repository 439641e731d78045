//! What is not what it should be: blobs, manifests, lengths.

use super::faults::{COPY_OUT, INSPECT, PULL, PUSH, always, json};
use super::{REPOSITORY, Row, Source};
use oci_image::{Digest, Image, Index, media_type};
use test_support::registry::{Fault, Registry, Response};

pub(super) fn contents() -> Vec<Row> {
    let flipped: fn(Response) -> Response = |mut answer| {
        if let Some(last) = answer.body.last_mut() {
            *last ^= 1;
        }
        answer
    };
    let longer: fn(Response) -> Response = |mut answer| {
        answer.chunked = true;
        answer.padding = 5;
        answer
    };
    let shorter: fn(Response) -> Response = |mut answer| {
        answer.body.pop();
        answer
    };
    vec![
        Row::new(
            "a layer with a flipped bit",
            PULL,
            4,
            always(Fault::change("GET", "/blobs/", flipped)),
        ),
        Row::new(
            "the same, copied",
            COPY_OUT,
            4,
            always(Fault::change("GET", "/blobs/", flipped)),
        ),
        Row::new(
            "the same, to another registry",
            "copy HOST/team/app:1 OTHER/team/app:2",
            4,
            always(Fault::change("GET", "/blobs/", flipped)),
        ),
        Row::new(
            "a configuration with a flipped bit",
            INSPECT,
            4,
            always(Fault::change("GET", "/blobs/", flipped)),
        ),
        Row::new(
            "a layer that is longer",
            PULL,
            4,
            always(Fault::change("GET", "/blobs/", longer)),
        ),
        Row::new(
            "a layer that is shorter",
            PULL,
            4,
            always(Fault::change("GET", "/blobs/", shorter)),
        ),
        Row::new(
            "a layer that is not there",
            PULL,
            4,
            always(Fault::answer(
                "GET",
                "/blobs/",
                json(404, "BLOB_UNKNOWN", "blob unknown"),
            )),
        ),
        Row::new("a manifest that is not its digest", PULL, 4, |profile| {
            profile.lies_about_manifests = true;
        }),
        Row::new(
            "the same, asked for by digest",
            "pull HOST/team/app@IMAGE",
            4,
            |profile| profile.lies_about_manifests = true,
        ),
        Row::new(
            "a part of a blob that was not asked for",
            PULL,
            4,
            |profile| {
                profile.faults = vec![Fault::change("GET", "/blobs/", |answer| {
                    let start = answer.body.len() / 2;
                    let end = answer.body.len();
                    let mut part = answer;
                    part.status = 206;
                    part.body.drain(..start);
                    part.with("Content-Range", format!("bytes {start}-{}/{end}", end - 1))
                })];
            },
        ),
        Row::new(
            "a part without saying which",
            PULL,
            4,
            always(Fault::change("GET", "/blobs/", |mut answer| {
                answer.status = 206;
                answer
            })),
        ),
    ]
}

/// Puts a document under the tag, of this type.
fn odd(registry: &Registry, kind: &str, document: &str) {
    registry.put_manifest(REPOSITORY, "1", kind, document.as_bytes());
}

pub(super) fn documents() -> Vec<Row> {
    let row = |name, exit, prepared: fn(&Registry, &Source)| {
        Row::new(name, PULL, exit, |_| {}).with(|setup| setup.prepared = Some(prepared))
    };
    vec![
        row("a page instead of a manifest", 4, |it, _| {
            odd(it, "text/html", "<html>Welcome</html>");
        }),
        row("a manifest of the first schema", 4, |it, _| {
            odd(
                it,
                "application/json",
                r#"{"schemaVersion":1,"fsLayers":[]}"#,
            );
        }),
        row("a manifest that is an index as well", 4, |it, _| {
            odd(
                it,
                media_type::OCI_MANIFEST,
                r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#,
            );
        }),
        row("a manifest of a strange type", 4, |it, _| {
            odd(
                it,
                media_type::OCI_MANIFEST,
                r#"{"schemaVersion":2,"mediaType":"text/x"}"#,
            );
        }),
        row("a manifest nested 100,000 deep", 4, |it, _| {
            let deep = format!(
                "{{\"schemaVersion\":2,\"annotations\":{}1{}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            );
            odd(it, media_type::OCI_MANIFEST, &deep);
        }),
        row("a manifest with a digest that climbs", 4, |it, _| {
            odd(
                it,
                media_type::OCI_MANIFEST,
                r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:../../../../etc/passwd","size":1},"layers":[]}"#,
            );
        }),
        row("a manifest with a negative size", 4, |it, _| {
            let digest = Digest::of(b"x");
            odd(
                it,
                media_type::OCI_MANIFEST,
                &format!(
                    r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"{digest}","size":-1}},"layers":[]}}"#
                ),
            );
        }),
        row("a configuration of 1 TiB", 4, |it, _| {
            let digest = Digest::of(b"x");
            odd(
                it,
                media_type::OCI_MANIFEST,
                &format!(
                    r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"{digest}","size":1099511627776}},"layers":[]}}"#
                ),
            );
        }),
        row("an index without an image for this machine", 3, |it, _| {
            odd(
                it,
                media_type::OCI_INDEX,
                r#"{"schemaVersion":2,"manifests":[]}"#,
            );
        }),
        row("an index inside an index", 4, |it, source| {
            let inner = serde_json::to_vec(&Index::new(Vec::new())).unwrap();
            it.put_manifest(REPOSITORY, "inner", media_type::OCI_INDEX, &inner);
            let (digest, size) = (Digest::of(&inner), inner.len());
            drop(source.blobs.put(&inner));
            odd(
                it,
                media_type::OCI_INDEX,
                &format!(
                    r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
                    media_type::OCI_INDEX
                ),
            );
        }),
        row("more diffIDs than layers", 4, |it, source| {
            let mut image = Image::load(&source.blobs, &source.old).unwrap();
            image.config.rootfs.diff_ids.push(Digest::of(b"one more"));
            let config = serde_json::to_vec(&image.config).unwrap();
            it.put_blob(REPOSITORY, &config);
            image.config.rootfs.diff_ids.pop();
            image.manifest.config.digest = Digest::of(&config);
            image.manifest.config.size = config.len() as u64;
            let bytes = serde_json::to_vec(&image.manifest).unwrap();
            it.put_manifest(REPOSITORY, "1", image.manifest.own_media_type(), &bytes);
        }),
    ]
}

pub(super) fn lengths() -> Vec<Row> {
    let long: fn(Response) -> Response = |mut answer| {
        answer.padding = 100 << 20;
        answer
    };
    let endless: fn(Response) -> Response = |mut answer| {
        answer.padding = 100 << 20;
        answer.chunked = true;
        answer
    };
    vec![
        Row::new(
            "a manifest of 100 MiB",
            PULL,
            4,
            always(Fault::change("GET", "/manifests/", long)),
        ),
        Row::new(
            "a manifest of 100 MiB, without its length",
            INSPECT,
            4,
            always(Fault::change("GET", "/manifests/", endless)),
        ),
        Row::new(
            "a layer with 100 MiB behind it",
            PULL,
            4,
            always(Fault::change("GET", "/blobs/", endless)),
        ),
        Row::new(
            "a manifest that breaks off",
            PULL,
            4,
            always(Fault::change("GET", "/manifests/", |mut answer| {
                answer.cut = Some(100);
                answer
            })),
        ),
        Row::new("layers that break off", PULL, 4, |profile| {
            profile.cut_downloads = 10_000.into();
        }),
        Row::new(
            "a registry that dies while it is pulled from",
            PULL,
            4,
            always(Fault::drop("*", "/blobs/", 0).after(1)),
        ),
        Row::new(
            "a registry that dies while it is pushed to",
            PUSH,
            4,
            always(Fault::drop("*", "", 0).after(5)),
        ),
        Row::new(
            "a registry that dies before the tag",
            PUSH,
            4,
            always(Fault::drop("PUT", "/manifests/", 10)),
        ),
    ]
}
