//! What no registry should do.

use super::Row;
use super::contents::{contents, documents, lengths};
use oci_image::Digest;
use std::time::Duration;
use test_support::registry::{Auth, Fault, Profile, Response};

pub(super) const PULL: &str = "pull HOST/team/app:1";
pub(super) const PUSH: &str = "copy LAYOUT:1 HOST/team/app:1";
pub(super) const COPY_OUT: &str = "copy HOST/team/app:1 oci:OUT:1";
pub(super) const INSPECT: &str = "inspect HOST/team/app:1";
const SILENCE: Duration = Duration::from_secs(90);

pub(super) fn json(status: u16, code: &str, message: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    Response::new(status)
        .with("Content-Type", "application/json")
        .body(body)
}

/// One fault that never ends.
pub(super) fn always(fault: Fault) -> impl FnOnce(&mut Profile) {
    move |profile| profile.faults = vec![fault]
}

pub(super) fn rows() -> Vec<Row> {
    [
        names(),
        rights(),
        challenges(),
        contents(),
        documents(),
        lengths(),
        redirections(),
        uploads(),
        silence(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn names() -> Vec<Row> {
    let wrong =
        |name, command| Row::new(name, command, 3, |_| {}).with(|setup| setup.hopeless = true);
    vec![
        wrong("a reference in capitals", "pull HOST/Team/App"),
        wrong(
            "a reference with a bad tag",
            "copy LAYOUT:1 HOST/team/app:a*b",
        ),
        wrong(
            "a reference with half a digest",
            "pull HOST/team/app@sha256:12",
        ),
        Row::new("a tag that is not there", "pull HOST/team/app:2", 4, |_| {})
            .with(|setup| setup.hopeless = true),
        Row::new(
            "a tag that is not there, inspected",
            "inspect HOST/team/app:2",
            3,
            |_| {},
        )
        .with(|setup| setup.hopeless = true),
        Row::new(
            "another platform",
            "pull HOST/team/app:1 --platform linux/riscv64",
            3,
            |_| {},
        )
        .with(|setup| setup.hopeless = true),
    ]
}

fn rights() -> Vec<Row> {
    let denied = || json(403, "DENIED", "requested access to the resource is denied");
    let quota = "adding 6 MiB of storage would exceed the project's quota of 5 MiB";
    vec![
        Row::new("a denied repository, pulling", PULL, 4, |profile| {
            profile.auth = Auth::Basic;
            profile.faults = vec![Fault::answer("GET", "/manifests/", denied())];
        })
        .with(|setup| setup.login = Some("ann:pw")),
        Row::new("a denied repository, pushing", PUSH, 4, |profile| {
            profile.auth = Auth::Basic;
            profile.faults = vec![Fault::answer("POST", "/uploads/", denied())];
        })
        .with(|setup| setup.login = Some("ann:pw")),
        Row::new(
            "a repository denied to nobody in particular",
            INSPECT,
            4,
            always(Fault::answer("GET", "/manifests/", denied())),
        ),
        Row::new(
            "the quota is used up",
            PUSH,
            4,
            always(Fault::answer(
                "PUT",
                "/uploads/",
                json(403, "DENIED", quota),
            )),
        ),
        Row::new("no upload is small enough", PUSH, 4, |profile| {
            profile.largest_body = Some(100_000);
        }),
        Row::new(
            "an error page",
            PULL,
            4,
            always(Fault::answer(
                "GET",
                "/manifests/",
                Response::new(403).body("<html><head><title>Blocked by gateway</title></head>"),
            )),
        ),
        Row::new(
            "an error with a terminal's commands in it",
            PULL,
            4,
            always(Fault::answer(
                "GET",
                "/manifests/",
                json(400, "\\u001b[2Jcode", "a\\u001b]0;title\\u0007 message"),
            )),
        ),
        Row::new(
            "an error of 10 MiB",
            PULL,
            4,
            always(Fault::answer(
                "GET",
                "/manifests/",
                Response::new(400).body("x".repeat(10 << 20)),
            )),
        ),
        Row::new(
            "an error that is half JSON",
            PULL,
            4,
            always(Fault::answer(
                "GET",
                "/manifests/",
                Response::new(400).body("{\"errors\":[{"),
            )),
        ),
        Row::new(
            "a status that nobody knows",
            PULL,
            4,
            always(Fault::answer("GET", "/manifests/", Response::new(799))),
        ),
    ]
}

fn challenges() -> Vec<Row> {
    let row = |name, challenge: Option<&str>| {
        let mut answer = json(401, "UNAUTHORIZED", "authentication required");
        if let Some(challenge) = challenge {
            answer = answer.with("WWW-Authenticate", challenge);
        }
        Row::new(name, PULL, 4, always(Fault::answer("*", "/v2/", answer)))
            .with(|setup| setup.login = Some("ann:pw"))
    };
    let token = |name, answer: Response| {
        Row::new(name, PULL, 4, |profile| {
            profile.auth = Auth::Token;
            profile.faults = vec![Fault::answer("*", "/token", answer)];
        })
        .with(|setup| setup.login = Some("ann:pw"))
    };
    vec![
        row("401 without a challenge", None),
        row("401 with a scheme of another world", Some("Negotiate")),
        row(
            "401 with a token server that is no address",
            Some("Bearer realm=\"nowhere\""),
        ),
        row(
            "401 with an empty token server",
            Some("Bearer realm=\"\",service=\"x\""),
        ),
        row("401 without a token server", Some("Bearer service=\"x\"")),
        row(
            "401 with a file as token server",
            Some("Bearer realm=\"file:///etc/passwd\""),
        ),
        row("401 with an unclosed quote", Some("Basic realm=\"x")),
        row(
            "401 with a token server in the clear",
            Some("Bearer realm=\"http://tokens.example/token\""),
        ),
        row(
            "401 to every token",
            Some("Bearer realm=\"http://{host}/token\",service=\"test registry\""),
        ),
        token(
            "a token server that sends a page",
            Response::new(200).body("<html>Log in</html>"),
        ),
        token(
            "a token server that sends no token",
            Response::new(200).body("{}"),
        ),
        token(
            "a token server that sends a header in a token",
            Response::new(200).body("{\"token\":\"a\\r\\nX-Evil: 1\"}"),
        ),
        token(
            "a token server that sends too much",
            Response::new(200).body("x".repeat(1 << 20)),
        ),
        token(
            "a token server that is busy for an hour",
            Response::new(429).with("Retry-After", 3600),
        ),
    ]
}

fn redirections() -> Vec<Row> {
    let to = |place: &str| {
        let answer = Response::new(307).with("Location", format!("{place}?signature=s3cret"));
        always(Fault::answer("GET", "/blobs/", answer))
    };
    let proxied = |row: Row| row.with(|setup| setup.through_proxy = true);
    vec![
        Row::new("a redirection to itself", PULL, 4, |profile| {
            profile.blobs_at = Some("/v2/team/app/blobs/".to_owned());
        }),
        Row::new(
            "a redirection to another scheme",
            PULL,
            4,
            to("ftp://files.example/x"),
        ),
        Row::new("a redirection to a file", PULL, 4, to("file:///etc/passwd")),
        Row::new(
            "a redirection out of encryption",
            PULL,
            4,
            to("http://files.example/x"),
        ),
        Row::new(
            "a redirection to nothing",
            PULL,
            4,
            always(Fault::answer("GET", "/blobs/", Response::new(307))),
        ),
        Row::new("a redirection to nonsense", PULL, 4, to("http://[::1")),
        proxied(Row::new(
            "a redirection to this machine",
            PULL,
            4,
            to("https://127.0.0.1/x"),
        )),
        proxied(Row::new(
            "a redirection to this machine, in another spelling",
            PULL,
            4,
            to("https://2130706433/x"),
        )),
        proxied(Row::new(
            "a redirection to a cloud's metadata",
            PULL,
            4,
            to("https://169.254.169.254/latest/meta-data/"),
        )),
        proxied(Row::new(
            "a redirection to a private network",
            PULL,
            4,
            to("https://10.1.2.3/x"),
        )),
        proxied(Row::new(
            "a token server in a private network",
            PULL,
            4,
            |profile| {
                let challenge = "Bearer realm=\"https://192.168.1.1/token\"";
                let answer = Response::new(401).with("WWW-Authenticate", challenge);
                profile.faults = vec![Fault::answer("*", "/v2/", answer)];
            },
        ))
        .with(|setup| setup.login = Some("ann:pw")),
        proxied(Row::new(
            "an upload in a private network",
            PUSH,
            4,
            |profile| {
                let answer =
                    Response::new(202).with("Location", "https://10.1.2.3/upload?state=s3cret");
                profile.faults = vec![Fault::answer("POST", "/uploads/", answer)];
            },
        )),
    ]
}

fn uploads() -> Vec<Row> {
    let opened = |location: Option<&str>| {
        let answer = Response::new(202);
        let answer = match location {
            Some(location) => answer.with("Location", location),
            None => answer,
        };
        always(Fault::answer("POST", "/uploads/", answer))
    };
    let stored_other: fn(Response) -> Response = |answer| {
        let answer = answer.without("Docker-Content-Digest");
        answer.with("Docker-Content-Digest", Digest::of(b"something else"))
    };
    vec![
        Row::new("an upload without an address", PUSH, 4, opened(None)),
        Row::new(
            "an upload at a file",
            PUSH,
            4,
            opened(Some("file:///dev/null")),
        ),
        Row::new(
            "an upload that is not known",
            PUSH,
            4,
            always(Fault::answer(
                "PUT",
                "/uploads/",
                json(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
            )),
        ),
        Row::new(
            "a blob stored as another",
            PUSH,
            4,
            always(Fault::change("PUT", "/uploads/", stored_other)),
        ),
        Row::new(
            "a manifest stored as another",
            PUSH,
            4,
            always(Fault::answer(
                "PUT",
                "/manifests/",
                stored_other(Response::new(201)),
            )),
        ),
        Row::new("chunks of a tebibyte at least", PUSH, 4, |profile| {
            profile.largest_body = Some(1 << 20);
            profile.faults = vec![Fault::change("POST", "/uploads/", |answer| {
                answer.with("OCI-Chunk-Min-Length", 1_u64 << 40)
            })];
        }),
        Row::new(
            "blobs that are there with another length",
            PUSH,
            0,
            always(Fault::answer(
                "HEAD",
                "/blobs/",
                Response::new(200).with("Content-Length", 7),
            )),
        ),
        Row::new("uploads that always break off", PUSH, 4, |profile| {
            profile.dropped_uploads = 10_000.into();
        }),
    ]
}

fn silence() -> Vec<Row> {
    let row = |name, command, fault: Fault| {
        Row::new(name, command, 4, always(fault)).with(|setup| setup.patience = Some("1"))
    };
    vec![
        row("no answer at all", PULL, Fault::stall("*", "", SILENCE)),
        row(
            "no answer for a manifest",
            INSPECT,
            Fault::stall("GET", "/manifests/", SILENCE),
        ),
        row(
            "no answer for a layer",
            PULL,
            Fault::stall("GET", "/blobs/", SILENCE),
        ),
        row(
            "no answer to an upload",
            PUSH,
            Fault::stall("PUT", "/uploads/", SILENCE),
        ),
        row(
            "a manifest byte by byte",
            PULL,
            Fault::change("GET", "/manifests/", |mut answer| {
                answer.drip = Some(Duration::from_millis(300));
                answer
            }),
        ),
    ]
}
