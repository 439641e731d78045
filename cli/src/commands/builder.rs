//! `slugc builder create|inspect|suggest`.

use crate::args::{BuilderAction, Output, PullPolicy, RegistryArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::images::Images;
use crate::parts::Parts;
use crate::place::{self, Place};
use crate::platform::builder::Builder;
use crate::platform::create::{BuilderToml, Making};
use crate::platform::pull::Puller;
use crate::platform::settings::Settings;
use crate::store::Store;
use crate::transfer::{Fetched, Transfer};
use crate::ui::printer::{Detail, Printer};
use std::path::Path;
use std::process::ExitCode;

/// Builders that anybody can pull, and what they are for.
const SUGGESTED: [(&str, &str); 4] = [
    (
        "heroku/builder:24",
        "Heroku: Ubuntu 24.04; Python, Node.js, Ruby, Go, Java, PHP, .NET and more",
    ),
    (
        "paketobuildpacks/builder-jammy-base",
        "Paketo: Ubuntu 22.04; Java, Node.js, Python, Go, Ruby, PHP, .NET",
    ),
    (
        "paketobuildpacks/builder-jammy-tiny",
        "Paketo: Ubuntu 22.04 without a shell; Go, Java native images, Rust",
    ),
    (
        "gcr.io/buildpacks/builder",
        "Google Cloud: Ubuntu 22.04; Go, Java, Node.js, Python, Ruby, PHP, .NET",
    ),
];

pub(crate) fn run(action: &BuilderAction) -> Result<ExitCode, Failure> {
    match action {
        BuilderAction::Create {
            name,
            config,
            publish,
            outputs,
            pull_policy,
            registry,
            mirror,
            detail,
        } => {
            let printer = Printer::new(Detail::from(detail));
            let wanted = Wanted {
                name,
                config,
                publish: *publish,
                outputs,
                policy: *pull_policy,
                registry,
                mirror: mirror.mirror.as_deref(),
            };
            create(&printer, &wanted)?;
        }
        BuilderAction::Inspect {
            name,
            output,
            pull_policy,
            registry,
        } => inspect(name.as_deref(), *output, *pull_policy, registry)?,
        BuilderAction::Suggest => suggest(),
    }
    Ok(ExitCode::SUCCESS)
}

struct Wanted<'a> {
    name: &'a str,
    config: &'a Path,
    publish: bool,
    outputs: &'a [String],
    policy: Option<PullPolicy>,
    registry: &'a RegistryArgs,
    mirror: Option<&'a str>,
}

fn create(printer: &Printer, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let name = place::new_name(wanted.name)?;
    let outputs = wanted
        .outputs
        .iter()
        .map(|text| Place::target(text))
        .collect::<Result<Vec<_>, _>>()?;
    if wanted.publish {
        Place::target(wanted.name)?;
    }
    let description = BuilderToml::read(wanted.config)?;
    let base = wanted.config.parent().unwrap_or(Path::new(""));
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let settings = Settings::read(&store)?;
    let puller = Puller {
        store: &store,
        printer,
        registry: wanted.registry,
        policy: wanted.policy.or(settings.pull_policy).unwrap_or_default(),
        settings: &settings,
    };
    printer.heading(&format!("Making the builder {}", name.familiar()));
    let manifest = description.make(
        &Making {
            store: &store,
            parts: &Parts::in_store(&store)?,
            puller: &puller,
            mirror: wanted.mirror,
        },
        base,
    )?;
    Images::of(&store).set(&name, &manifest)?;
    let image = Fetched {
        manifest: manifest.clone(),
        name: Some(name.clone()),
        origin: None,
    };
    let transfer = Transfer::new(&store, printer, wanted.registry, None)?;
    let published = Place::Registry(name.clone());
    let places = outputs.iter().chain(wanted.publish.then_some(&published));
    for place in places {
        transfer.deliver(&image, place)?;
    }
    printer.line(&format!("Named {}", name.familiar()));
    printer.result(&manifest.digest.to_string());
    Ok(())
}

fn inspect(
    name: Option<&str>,
    output: Output,
    policy: Option<PullPolicy>,
    registry: &RegistryArgs,
) -> Result<(), Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let settings = Settings::read(&store)?;
    let name = name
        .or(settings.default_builder.as_deref())
        .ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "no builder is named, and there is no default one",
            )
            .hint("slugc builder inspect IMAGE, or slugc settings default-builder IMAGE")
        })?;
    let puller = Puller {
        store: &store,
        printer: &printer,
        registry,
        policy: policy.or(settings.pull_policy).unwrap_or_default(),
        settings: &settings,
    };
    let builder = Builder::fetch(&puller, name)?;
    match output {
        Output::Json => {
            let metadata = &builder.metadata;
            let value = serde_json::json!({
                "name": name,
                "digest": builder.manifest.digest.to_string(),
                "description": metadata.description,
                "createdBy": metadata.created_by,
                "runImages": metadata.images,
                "stack": metadata.stack,
                "lifecycle": metadata.lifecycle,
                "buildpacks": builder.layers,
                "order": builder.order.order,
            });
            let text = serde_json::to_string_pretty(&value).or_fail(Exit::General, || {
                "cannot print the builder as JSON".to_owned()
            })?;
            printer.result(&text);
        }
        Output::Text => show(&printer, &builder, &settings),
    }
    Ok(())
}

fn show(printer: &Printer, builder: &Builder, settings: &Settings) {
    let metadata = &builder.metadata;
    let config = &builder.image.config.config;
    let line = |name: &str, value: &str| printer.result(&format!("{name:<12} {value}"));
    line("Builder", &builder.name);
    line("Digest", &builder.manifest.digest.to_string());
    if !metadata.description.is_empty() {
        line("Description", &metadata.description);
    }
    line(
        "Created by",
        &format!(
            "{} {}",
            metadata.created_by.name, metadata.created_by.version
        ),
    );
    if let Some(stack) = config.labels.get("io.buildpacks.stack.id") {
        line("Stack", stack);
    }
    line("Lifecycle", &metadata.lifecycle.version);
    let apis = &metadata.lifecycle.apis;
    for (kind, lists) in apis {
        line(&format!("  {kind}"), &lists.supported.join(" "));
    }
    printer.result("Run images");
    let offered = metadata.images.iter().chain([&metadata.stack.run_image]);
    let mut seen = Vec::new();
    for names in offered.filter(|names| !names.image.is_empty()) {
        let own = settings.mirrors_of_run_image(&names.image);
        for (name, note) in own
            .iter()
            .map(|name| (name, "  (your mirror)"))
            .chain([(&names.image, "")])
            .chain(names.mirrors.iter().map(|name| (name, "")))
        {
            if !seen.contains(name) {
                printer.result(&format!("  {name}{note}"));
                seen.push(name.clone());
            }
        }
    }
    printer.result("Buildpacks");
    for (id, versions) in &builder.layers {
        for version in versions.keys() {
            printer.result(&format!("  {id} {version}"));
        }
    }
    printer.result("Order");
    super::buildpack::groups(printer, &builder.order.order);
}

fn suggest() {
    let printer = Printer::new(Detail::Normal);
    printer.result(
        "slugc's own stack needs no builder: slugc build PATH. Others that many people use:",
    );
    for (name, what) in SUGGESTED {
        printer.result(&format!("  {name:<38} {what}"));
    }
    printer.result("Use one with slugc build PATH --builder IMAGE, or for all builds: slugc settings default-builder IMAGE");
}
