#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::log::Level;
use oci_image::{Descriptor, Digest, media_type};

/// An image with these layers, of debian 13 on amd64.
fn image(layers: &[&str]) -> Image {
    let mut image = Image::empty("linux", "amd64");
    for layer in layers {
        let digest = Digest::of(layer.as_bytes());
        let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, 1);
        image.manifest.layers.push(descriptor);
        image.config.rootfs.diff_ids.push(digest);
        image.config.history.push(History {
            created_by: Some((*layer).to_owned()),
            ..History::default()
        });
    }
    for (name, value) in [
        (labels::BASE_DISTRO_NAME, "debian"),
        (labels::BASE_DISTRO_VERSION, "13"),
        (labels::STACK_ID, "slug-13"),
    ] {
        label(&mut image, name, value);
    }
    image
}

fn label(image: &mut Image, name: &str, value: &str) {
    let labels = &mut image.config.config.labels;
    labels.insert(name.to_owned(), value.to_owned());
}

/// An app on the base of the layers `old-1` and `old-2`, called `run`.
fn app(api: &str) -> Image {
    let mut app = image(&["old-1", "old-2", "app"]);
    let top = Digest::of(b"old-2");
    let text = format!(
        r#"{{"runImage":{{"topLayer":"{top}","reference":"run@old","image":"run","mirrors":["mirror/run"]}}}}"#
    );
    label(&mut app, labels::LIFECYCLE_METADATA, &text);
    label(&mut app, "io.buildpacks.base.old", "gone");
    app.config.config.set_env(env_vars::PLATFORM_API, api);
    app
}

fn rebased(app: &Image, base: &Image, name: &str, force: bool) -> Result<Image, RebaseError> {
    let sink = |_: Level, _: &str| {};
    rebase(&Inputs {
        platform_api: ApiVersion::new(0, 12),
        app,
        base,
        base_reference: "run@new",
        base_name: name,
        force,
        log: Logger::new(&sink),
    })
}

#[test]
fn layers_and_labels_of_the_base_are_swapped() {
    let mut base = image(&["new"]);
    label(&mut base, labels::BASE_ID, "fresh");
    let image = rebased(&app("0.12"), &base, "mirror/run:2@sha256:0", false);
    assert!(matches!(image, Err(RebaseError::UnknownBase { .. })));
    let image = rebased(&app("0.12"), &base, "mirror/run", false).unwrap();
    let layers = [Digest::of(b"new"), Digest::of(b"app")];
    assert_eq!(image.config.rootfs.diff_ids, layers);
    let blobs: Vec<_> = image.manifest.layers.iter().map(|it| it.digest).collect();
    assert_eq!(blobs, layers);
    let made_by: Vec<_> = image
        .config
        .history
        .iter()
        .map(|it| it.created_by.as_deref())
        .collect();
    assert_eq!(made_by, [Some("new"), Some("app")]);
    let labels = &image.config.config.labels;
    assert_eq!(labels[labels::BASE_ID], "fresh");
    assert!(!labels.contains_key("io.buildpacks.base.old"));
    let metadata = metadata(&image).unwrap();
    assert_eq!(metadata.run_image.top_layer, layers[0].to_string());
    assert_eq!(metadata.run_image.reference, "run@new");
    assert_eq!(metadata.run_image.names.image.as_deref(), Some("run"));
    // And once more, onto what it is on now.
    assert_eq!(rebased(&image, &base, "run", false).unwrap(), image);
}

#[test]
fn what_does_not_fit_needs_force() {
    let base = image(&["new"]);
    let mut fixed = app("0.12");
    label(&mut fixed, labels::REBASABLE, "false");
    assert!(matches!(
        rebased(&fixed, &base, "run", false),
        Err(RebaseError::NotRebasable)
    ));
    let mut other = base.clone();
    label(&mut other, labels::BASE_DISTRO_VERSION, "12");
    let error = rebased(&app("0.12"), &other, "run", false).unwrap_err();
    assert!(matches!(error, RebaseError::Target { .. }));
    assert_eq!(error.exit_code(), 72);
    let mut arm = base.clone();
    arm.config.architecture = "arm64".to_owned();
    assert!(matches!(
        rebased(&app("0.13"), &arm, "run", false),
        Err(RebaseError::Target { .. })
    ));

    let image = rebased(&fixed, &other, "elsewhere/run", true).unwrap();
    let metadata = metadata(&image).unwrap();
    assert_eq!(
        metadata.run_image.names.image.as_deref(),
        Some("elsewhere/run")
    );
    assert_eq!(metadata.stack.unwrap().run_image, metadata.run_image.names);
}

#[test]
fn older_images_go_by_their_stack() {
    let mut base = image(&["new"]);
    assert!(rebased(&app("0.11"), &base, "run", false).is_ok());
    label(&mut base, labels::STACK_ID, "other");
    for force in [false, true] {
        let error = rebased(&app("0.11"), &base, "run", force);
        assert!(matches!(error, Err(RebaseError::Stack { .. })));
    }
}

#[test]
fn images_of_others_are_refused() {
    let base = image(&["new"]);
    let mut foreign = app("0.12");
    foreign
        .config
        .config
        .labels
        .remove(labels::LIFECYCLE_METADATA);
    assert!(matches!(
        rebased(&foreign, &base, "run", true),
        Err(RebaseError::NoMetadata)
    ));
    let mut broken = app("0.12");
    label(&mut broken, labels::LIFECYCLE_METADATA, "{");
    assert!(matches!(
        rebased(&broken, &base, "run", true),
        Err(RebaseError::Metadata(_))
    ));
    let mut lost = app("0.12");
    lost.config.rootfs.diff_ids[1] = Digest::of(b"other");
    assert!(matches!(
        rebased(&lost, &base, "run", true),
        Err(RebaseError::TopLayer { .. })
    ));
    assert_eq!(base_of(&app("0.12")).unwrap().image.as_deref(), Some("run"));
}

/// Empty layers are all the same one, and a base may end with one that it has below as well.
#[test]
fn a_base_with_a_layer_twice_goes_as_a_whole() {
    let mut app = image(&["old", "empty", "more", "empty", "app"]);
    let (top, own) = (Digest::of(b"empty"), Digest::of(b"app"));
    let text = format!(
        r#"{{"app":[{{"sha":"{own}"}}],"runImage":{{"topLayer":"{top}","reference":"run@old","image":"run"}}}}"#
    );
    label(&mut app, labels::LIFECYCLE_METADATA, &text);
    app.config.config.set_env(env_vars::PLATFORM_API, "0.12");
    assert_eq!(layers_of_base(&app), Some(4));
    let new = rebased(&app, &image(&["new"]), "run", false).unwrap();
    let expected = ["new", "app"].map(|layer| Digest::of(layer.as_bytes()));
    assert_eq!(new.config.rootfs.diff_ids, expected);
    // An app may have the base's top layer as well.
    let mut app = image(&["old", "empty", "empty"]);
    let text = text.replace(&own.to_string(), &top.to_string());
    label(&mut app, labels::LIFECYCLE_METADATA, &text);
    assert_eq!(layers_of_base(&app), Some(2));
}
