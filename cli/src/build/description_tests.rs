#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn description(labels: &[(&str, &str)], created: Option<&str>) -> Description {
    Description {
        labels: labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        created: created.map(str::to_owned),
    }
}

fn image(labels: &[(&str, &str)]) -> Image {
    let mut image = Image::empty("linux", "amd64");
    let labels = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    image.config.config.labels.extend(labels);
    image
}

#[test]
fn the_last_description_leaves_no_trace() {
    let (title, revision) = (
        "org.opencontainers.image.title",
        "org.opencontainers.image.revision",
    );
    let base = image(&[(title, "debian")]);
    let fresh = || image(&[(title, "debian"), ("buildpack", "1")]);
    let none = Description::default();
    let first = description(
        &[(title, "shop"), (revision, "1")],
        Some("2024-01-01T00:00:00Z"),
    );
    let second = description(&[(revision, "2")], None);
    let mut renewed = fresh();
    first.apply(&mut renewed, &base, &none);
    let labels = &renewed.config.config.labels;
    assert_eq!(
        (labels[title].as_str(), labels[revision].as_str()),
        ("shop", "1")
    );
    assert_eq!(renewed.manifest.annotations[revision], "1");
    assert_eq!(
        renewed.config.created.as_deref(),
        Some("2024-01-01T00:00:00Z")
    );
    second.apply(&mut renewed, &base, &first);
    let mut direct = fresh();
    second.apply(&mut direct, &base, &none);
    assert_eq!(renewed, direct);
    assert_eq!(direct.config.config.labels[title], "debian");
    assert_eq!(
        direct.config.created.as_deref(),
        Some("1980-01-01T00:00:01Z")
    );
}

#[test]
fn buildpacks_have_the_last_word() {
    let title = "org.opencontainers.image.title";
    let mut made = image(&[(title, "by a buildpack")]);
    let ours = description(&[(title, "shop")], None);
    ours.apply(&mut made, &image(&[]), &Description::default());
    assert_eq!(made.config.config.labels[title], "by a buildpack");
    assert!(made.manifest.annotations.is_empty());
}

#[test]
fn epochs() {
    assert_eq!(instant("0").unwrap(), "1970-01-01T00:00:00Z");
    assert_eq!(instant(" 1700000000\n").unwrap(), "2023-11-14T22:13:20Z");
    for text in ["", "now", "1.5", "99999999999999999999", "999999999999999"] {
        assert!(instant(text).is_err(), "{text}");
    }
}
