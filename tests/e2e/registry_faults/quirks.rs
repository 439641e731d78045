//! What real registries are like.

use super::faults::{PUSH, json};
use super::{MOUNT, Row};
use test_support::registry::{Auth, Fault, Mount, Response};

const MIB: usize = 1 << 20;

/// What is wrong with these is in requests that are not to be made.
pub(super) const UNMET: [&str; 2] = ["Google: no chunks at all", "Quay: mounts name where from"];

pub(super) fn rows() -> Vec<Row> {
    [uploads(), manifests(), answers(), refusals()]
        .into_iter()
        .flatten()
        .collect()
}

fn uploads() -> Vec<Row> {
    vec![
        Row::new(
            "GHCR: chunks have 4 MiB at most, behind a proxy's 413",
            PUSH,
            0,
            |profile| {
                profile.largest_body = Some(5 * MIB);
                profile.longest_chunk = Some(4 * MIB);
            },
        ),
        Row::new("Google: no chunks at all", PUSH, 0, |profile| {
            profile.faults = vec![Fault::answer("PATCH", "", Response::new(405))];
        }),
        Row::new("ECR: Range stays where it was", PUSH, 0, |profile| {
            profile.largest_body = Some(5 * MIB);
        }),
        Row::new("ECR: mounts open sessions", MOUNT, 0, |profile| {
            profile.mount = Mount::Session;
        }),
        Row::new("ACR: Content-Range has no total", PUSH, 0, |profile| {
            profile.largest_body = Some(2 * MIB);
        }),
        Row::new(
            "nginx and Cloudflare: 413 with a page",
            PUSH,
            0,
            |profile| {
                profile.largest_body = Some(MIB);
            },
        ),
        Row::new(
            "uploads are at relative addresses with a state",
            PUSH,
            0,
            |profile| {
                profile.relative_location = true;
            },
        ),
        Row::new("uploads are at another host", PUSH, 0, |profile| {
            profile.auth = Auth::Basic;
        })
        .with(|setup| {
            setup.login = Some("ann:pw");
            setup.with_hosts = Some(|profile, own, _| {
                profile.upload_host = Some(own.replace("127.0.0.1", "localhost"));
            });
        }),
        Row::new(
            "Docker Hub: mounts from others are refused",
            MOUNT,
            0,
            |profile| {
                profile.mount = Mount::Refuses;
            },
        ),
        Row::new("Quay: mounts name where from", MOUNT, 0, |profile| {
            profile.mount = Mount::NeedsFrom;
            // What is mounted needs no session.
            profile.faults = vec![Fault::answer("PUT", "/uploads/", Response::new(405))];
        }),
        Row::new(
            "old Artifactory: no upload in one piece",
            PUSH,
            0,
            |profile| {
                profile.no_whole_uploads = true;
            },
        ),
    ]
}

fn manifests() -> Vec<Row> {
    vec![
        Row::new(
            "Lambda's registry: no indexes",
            "manifest push local/app:1 HOST/team/app:2",
            4,
            |profile| {
                let kind = json(400, "MANIFEST_INVALID", "only plain manifests");
                profile.faults = vec![Fault::answer("PUT", "/manifests/2", kind)];
            },
        )
        .with(|setup| setup.first = Some("manifest create local/app:1 LAYOUT:1")),
        Row::new(
            "Artifactory: a tag may not be overwritten",
            PUSH,
            4,
            |profile| {
                let kept = json(403, "MANIFEST_INVALID", "manifest invalid");
                profile.faults = vec![Fault::answer("PUT", "/manifests/1", kept)];
            },
        ),
        Row::new("the same, with a login", PUSH, 4, |profile| {
            let kept = json(403, "MANIFEST_INVALID", "manifest invalid");
            profile.auth = Auth::Basic;
            profile.faults = vec![Fault::answer("PUT", "/manifests/1", kept)];
        })
        .with(|setup| setup.login = Some("ann:pw")),
        Row::new(
            "an image of an index may not be pushed",
            "manifest push local/app:1 HOST/team/app:2",
            4,
            |profile| {
                let denied = json(403, "DENIED", "requested access to the resource is denied");
                profile.faults = vec![Fault::answer("PUT", "/manifests/sha256", denied)];
            },
        )
        .with(|setup| setup.first = Some("manifest create local/app:1 LAYOUT:1")),
        Row::new("GitLab: not on the list of types", PUSH, 4, |profile| {
            let kind = json(400, "MANIFEST_INVALID", "unknown artifact type");
            profile.faults = vec![Fault::answer("PUT", "/manifests/", kind)];
        }),
        Row::new("Harbor 1.10: OCI manifests are 500", PUSH, 4, |profile| {
            let lost = json(500, "UNKNOWN", "internal server error");
            profile.faults = vec![Fault::answer("PUT", "/manifests/", lost)];
        }),
    ]
}

fn answers() -> Vec<Row> {
    let no_digest: fn(Response) -> Response = |answer| answer.without("Docker-Content-Digest");
    vec![
        Row::new("no Docker-Content-Digest, pushing", PUSH, 0, |profile| {
            profile.faults = vec![Fault::change("*", "", no_digest)];
        }),
        Row::new(
            "no Docker-Content-Digest, pulling",
            "pull HOST/team/app:1",
            0,
            |profile| {
                profile.faults = vec![Fault::change("*", "", no_digest)];
            },
        ),
        Row::new("no HEAD", PUSH, 0, |profile| {
            profile.faults = vec![Fault::answer("HEAD", "", Response::new(405))];
        }),
        Row::new(
            "no ranges, and downloads break",
            "pull HOST/team/app:1",
            0,
            |profile| {
                profile.ignores_ranges = true;
                profile.cut_downloads = 2.into();
            },
        ),
        Row::new(
            "blobs are at another host",
            "pull HOST/team/app:1",
            0,
            |profile| {
                profile.auth = Auth::Basic;
            },
        )
        .with(|setup| {
            setup.login = Some("ann:pw");
            setup.with_hosts = Some(|profile, _, other| {
                profile.blobs_at = Some(format!("http://{other}/v2/team/app/blobs/"));
            });
        }),
        Row::new(
            "documents without a length",
            "pull HOST/team/app:1",
            0,
            |profile| {
                profile.faults = vec![Fault::change("GET", "", |mut answer| {
                    answer.chunked = true;
                    answer
                })];
            },
        ),
    ]
}

fn refusals() -> Vec<Row> {
    let busy = |seconds: u64| {
        let answer = Response::new(429).with("Retry-After", seconds);
        answer.body("You have reached your pull rate limit.\n")
    };
    vec![
        Row::new(
            "Docker Hub: 429 in plain text, for a second",
            "pull HOST/team/app:1",
            0,
            |profile| {
                profile.faults = vec![Fault::answer("GET", "/manifests/", busy(1)).times(1)];
            },
        ),
        Row::new("429 for an hour", "pull HOST/team/app:1", 4, |profile| {
            profile.faults = vec![Fault::answer("GET", "/manifests/", busy(3600))];
        }),
        Row::new("408, once", PUSH, 0, |profile| {
            profile.faults = vec![Fault::answer("PUT", "/uploads/", Response::new(408)).times(1)];
        }),
        Row::new("503 with Retry-After, once", PUSH, 0, |profile| {
            let busy = Response::new(503).with("Retry-After", 1);
            profile.faults = vec![Fault::answer("POST", "/uploads/", busy).times(1)];
        }),
        Row::new(
            "a gateway's 502, once for each kind of request",
            PUSH,
            0,
            |profile| {
                let lost =
                    || Response::new(502).body("<html><title>502 Bad Gateway</title></html>");
                let on = |method, part| Fault::answer(method, part, lost()).times(1);
                profile.faults = vec![
                    on("HEAD", "/blobs/"),
                    on("POST", "/uploads/"),
                    on("PUT", "/uploads/"),
                    on("PUT", "/manifests/"),
                ];
            },
        ),
        Row::new("uploads break in the middle, twice", PUSH, 0, |profile| {
            profile.dropped_uploads = 2.into();
        }),
    ]
}
