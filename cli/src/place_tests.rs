#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn layout(folder: &str, tag: Option<&str>) -> Place {
    Place::Layout {
        folder: folder.into(),
        tag: tag.map(str::to_owned),
    }
}

fn docker_archive(file: &str, name: Option<&str>) -> Place {
    Place::DockerArchive {
        file: file.into(),
        name: name.map(|name| name.parse().unwrap()),
    }
}

fn engine(kind: EngineKind, name: &str) -> Place {
    Place::Engine {
        kind,
        name: name.to_owned(),
    }
}

#[test]
fn places() {
    for (text, place) in [
        ("oci:image", layout("image", None)),
        ("oci:/tmp/a b:v1", layout("/tmp/a b", Some("v1"))),
        ("oci:a:b/c", layout("a:b/c", None)),
        (
            "oci-archive:shop.tar:v1",
            Place::OciArchive {
                file: "shop.tar".into(),
                tag: Some("v1".to_owned()),
            },
        ),
        ("docker-archive:shop.tar", docker_archive("shop.tar", None)),
        (
            "docker-archive:shop.tar:localhost:5000/shop:v1",
            docker_archive("shop.tar", Some("localhost:5000/shop:v1")),
        ),
        (
            "docker-daemon:shop:v1",
            engine(EngineKind::Docker, "shop:v1"),
        ),
        ("podman:shop", engine(EngineKind::Podman, "shop")),
        (
            "containerd:shop:v1",
            Place::Containerd {
                name: "shop:v1".to_owned(),
            },
        ),
        (
            "localhost:5000/shop",
            Place::Registry("localhost:5000/shop".parse().unwrap()),
        ),
        (
            "docker://r.example/shop:v1",
            Place::Registry("r.example/shop:v1".parse().unwrap()),
        ),
    ] {
        let parsed = Place::parse(text).unwrap();
        assert_eq!(parsed, place, "{text}");
        if !matches!(parsed, Place::Registry(_)) {
            assert_eq!(parsed.to_string(), text);
        }
    }
    for bad in [
        "",
        "oci:",
        "oci::tag",
        "oci:a:",
        "oci-archive:",
        "docker-archive:",
        "docker-archive::shop",
        "docker-archive:shop.tar:",
        "docker-archive:shop.tar:Upper",
        "docker-daemon:",
        "podman:",
        "r.example/Upper/case",
    ] {
        assert!(Place::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn new_names_have_a_tag_and_no_digest() {
    assert_eq!(new_name("shop").unwrap().familiar(), "shop:latest");
    let digest = oci_image::Digest::of(b"");
    assert!(new_name(&format!("shop@{digest}")).is_err());
}

#[test]
fn fuzzed_places() {
    let inputs = [
        "registry.example:5000/team/shop:1.4",
        "oci:dir/sub:1",
        "oci-archive:file.tar:1.4",
        "docker-archive:shop.tar:team/shop:1.4",
        "docker-daemon:shop:1",
        "podman:localhost/shop",
        "containerd:registry.example/shop:1",
        "docker://shop@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ]
    .map(|text| text.as_bytes().to_vec());
    let seeds = test_support::Seeds {
        inputs: &inputs,
        words: &[":", "/", "@", "oci:", "..", "://", "é", "\0", "[", " "],
    };
    test_support::fuzz("places", seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        if let Ok(place) = Place::parse(text) {
            assert_eq!(Place::parse(&place.to_string()).unwrap(), place);
        }
        drop(Place::target(text));
    });
}
