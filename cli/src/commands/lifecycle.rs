//! `slugc lifecycle package|image`.

use crate::args::LifecycleAction;
use crate::failure::{Exit, Failure, OrFail};
use crate::package;
use crate::parts::Parts;
use crate::place::Place;
use crate::stack;
use crate::store::Store;
use crate::transfer::{Fetched, Transfer};
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use cnb_spec::api;
use oci_image::{Descriptor, History, Image};
use std::process::ExitCode;

pub(crate) fn run(action: &LifecycleAction) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let parts = Parts::in_store(&store)?;
    match action {
        LifecycleAction::Package { file } => {
            let archive = package::lifecycle(&store, &parts)?;
            package::copy_out(&store, &archive, file)?;
            printer.result(&format!(
                "Lifecycle {}, {}, written to {}",
                api::LIFECYCLE,
                size::bytes(archive.size),
                file.display()
            ));
        }
        LifecycleAction::Image {
            target,
            registry,
            mirror,
        } => {
            let target = Place::target(target)?;
            let stack = stack::ensure(
                &store,
                &printer,
                debian_stack::DEFAULT,
                mirror.mirror.as_deref(),
            )?;
            let manifest = image(&store, &parts, &stack.run_image)?;
            let image = Fetched {
                manifest,
                name: None,
                origin: None,
            };
            let transfer = Transfer::new(&store, &printer, registry, None)?;
            printer.result(&transfer.deliver(&image, &target)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The lifecycle on a base that has users and certificates, with what pack wants to know in labels.
fn image(store: &Store, parts: &Parts, base: &Descriptor) -> Result<Descriptor, Failure> {
    let failed = || "cannot make the image of the lifecycle".to_owned();
    let mut image = Image::load(store.blobs(), &base.digest).or_fail(Exit::Store, failed)?;
    let layer = package::lifecycle_layer(store, parts)?;
    image.manifest.layers.push(layer.descriptor());
    let config = &mut image.config;
    config.rootfs.diff_ids.push(layer.diff_id);
    config.history.push(History {
        created: config.created.clone(),
        created_by: Some("slugc lifecycle image".to_owned()),
        ..History::default()
    });
    // Phases that need rights take them and give them up.
    "0:0".clone_into(&mut config.config.user);
    let apis = package::apis();
    let metadata = serde_json::json!({"lifecycle": {
        "version": api::LIFECYCLE,
        "api": {
            "buildpack": api::BUILDPACK[0].to_string(),
            "platform": api::PLATFORM[0].to_string(),
        },
        "apis": apis,
    }});
    let labels = [
        ("io.buildpacks.builder.metadata", metadata.to_string()),
        ("io.buildpacks.lifecycle.version", api::LIFECYCLE.to_owned()),
        ("io.buildpacks.lifecycle.apis", apis.to_string()),
    ];
    for (name, value) in labels {
        config.config.labels.insert(name.to_owned(), value);
    }
    image.save(store.blobs()).or_fail(Exit::Store, failed)
}
