//! `slugc build [PATH]`.

use crate::app::{App, AppName};
use crate::args::{BuildArgs, PlatformArgs, RegistryArgs};
use crate::build::shared_cache::SharedCache;
use crate::build::{self, Request, run_image};
use crate::build_env;
use crate::commands::{cache, sbom};
use crate::failure::Failure;
use crate::images::Images;
use crate::place::{self, Place, Source};
use crate::platform::pull::Puller;
use crate::platform::settings::Settings;
use crate::platform::surroundings::Surroundings;
use crate::project;
use crate::referrers::Attachments;
use crate::release;
use crate::store::Store;
use crate::transfer::{Fetched, Transfer};
use crate::ui::error::chain;
use crate::ui::printer::{Detail, Printer};
use oci_image::Reference;
use std::path::Path;
use std::process::ExitCode;

/// Builds an app's folder as it is, without anything that `slugc build` may be told.
pub(crate) fn of_app(
    printer: &Printer,
    store: &Store,
    app: &App,
    path: &Path,
    mirror: Option<&str>,
) -> Result<(), Failure> {
    let project = project::read(path)?;
    let env = build_env::collect(&project.env, &[], &[])?;
    let (platform, surroundings) = (PlatformArgs::default(), Surroundings::default());
    let _used = store.use_lock()?;
    let built = build::build(
        store,
        printer,
        &Request {
            app,
            path,
            project: &project,
            env: &env,
            platform: &platform,
            surroundings: &surroundings,
            registry: &RegistryArgs::default(),
            clear_cache: false,
            refresh: false,
            tags: &[],
            mirror,
            run_image: None,
            cache: None,
        },
    )?;
    let release = release::deploy(printer, store, app)?;
    build::summary::print(printer, app, &built, release.as_ref());
    Ok(())
}

/// Everywhere that the image goes: what `-o` names, then the registries of its names.
fn targets(args: &BuildArgs, outputs: Vec<Place>, names: &[Reference]) -> Vec<Place> {
    let outputs = outputs.into_iter().map(|mut place| {
        place.default_tag(args.tags.first().map(String::as_str));
        place
    });
    let published = names.iter().filter(|_| args.publish).cloned();
    outputs.chain(published.map(Place::Registry)).collect()
}

pub(crate) fn run(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::from(&args.detail));
    let outputs = args
        .outputs
        .iter()
        .map(|text| Place::target(text))
        .collect::<Result<Vec<_>, _>>()?;
    let names = args
        .tags
        .iter()
        .map(|name| place::new_name(name))
        .collect::<Result<Vec<_>, _>>()?;
    let targets = targets(args, outputs, &names);
    Attachments::check(&args.attach, &targets)?;
    let name = AppName::choose(&args.app, &args.path)?;
    let surroundings = Surroundings::of(&args.surroundings, &printer)?;
    let descriptor = args.platform.descriptor.as_deref();
    let project = project::read_for(&args.path, descriptor, &surroundings.exec_env)?;
    let env = build_env::collect(&project.env, &args.env_file, &args.env)?;
    let store = Store::open()?;
    let used = store.use_lock()?;
    let app = App::of(&store, name);
    let transfer = Transfer::new(&store, &printer, &args.registry, None)?;
    let run_image = match args.base.run_image.as_deref() {
        Some(text) => {
            let settings = Settings::read(&store)?;
            let puller = Puller {
                store: &store,
                printer: &printer,
                registry: &args.registry,
                policy: args.platform.policy(args.refresh, &settings),
                settings: &settings,
            };
            Some(run_image::find(&transfer, &puller, text)?)
        }
        None => None,
    };
    let cache = SharedCache::open(&store, &printer, &args.cache, &args.registry, &args.path)?;
    let built = build::build(
        &store,
        &printer,
        &Request {
            app: &app,
            path: &args.path,
            project: &project,
            env: &env,
            platform: &args.platform,
            surroundings: &surroundings,
            registry: &args.registry,
            clear_cache: args.clear_cache,
            refresh: args.refresh,
            tags: &args.tags,
            mirror: args.mirror.mirror.as_deref(),
            run_image: run_image.as_ref(),
            cache: cache.as_ref(),
        },
    )?;
    for name in &names {
        Images::of(&store).set(name, &built.manifest)?;
    }
    let image = Fetched {
        manifest: built.manifest.clone(),
        name: names.first().cloned().or(app.name.as_str().parse().ok()),
        origin: None,
    };
    let source = Source::app(&app.name, built.manifest.clone())?;
    for place in &targets {
        transfer.deliver(&image, place)?;
        if matches!(place, Place::Registry(_)) {
            Attachments::choose(&args.attach, place)?.send(&transfer, &image, &source)?;
        }
    }
    if let Some(folder) = &args.sbom.folder {
        sbom::copy(&printer, &app, folder)?;
    }
    let release = release::deploy(&printer, &store, &app)?;
    build::summary::print(&printer, &app, &built, release.as_ref());
    drop(used);
    if !built.up_to_date {
        // The image is made: what cannot be removed is no failure of the build.
        Settings::read(&store)
            .and_then(|settings| cache::keep_within(&printer, &store, settings.cache_limit()))
            .unwrap_or_else(|failure| printer.warning(&chain(&failure)));
    }
    Ok(ExitCode::SUCCESS)
}
