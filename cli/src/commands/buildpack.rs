//! `slugc buildpack new|package|inspect|pull`.

use crate::args::{BuildpackAction, Output, PullPolicy, RegistryArgs};
use crate::build::buildpacks;
use crate::failure::{Exit, Failure, OrFail};
use crate::package;
use crate::parts::{self, Parts};
use crate::place::Place;
use crate::platform::image;
use crate::platform::locator::Locator;
use crate::platform::module::{self, Module, Package};
use crate::platform::pull::Puller;
use crate::platform::scaffold::{self, Scaffold};
use crate::platform::settings::Settings;
use crate::platform::source::Fetcher;
use crate::store::Store;
use crate::transfer::{Fetched, Transfer};
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use cnb_spec::group::GroupElement;
use cnb_spec::order::OrderGroup;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(action: &BuildpackAction) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    match action {
        BuildpackAction::New {
            id,
            api,
            version,
            path,
        } => {
            let folder = scaffold::write(&Scaffold {
                id,
                api,
                version,
                folder: path.as_deref(),
            })?;
            printer.result(&format!(
                "Buildpack {id} {version} written to {}",
                folder.display()
            ));
            printer.line(&format!(
                "Try it: slugc build APP --buildpack {}",
                folder.display()
            ));
        }
        BuildpackAction::Package {
            name,
            target,
            registry,
        } => {
            let store = Store::open()?;
            let _used = store.use_lock()?;
            let written = pack(&printer, &store, name, target, registry)?;
            printer.result(&written);
        }
        BuildpackAction::Inspect {
            buildpack,
            output,
            pull_policy,
            registry,
        } => {
            let store = Store::open()?;
            let _used = store.use_lock()?;
            let package = fetch(&printer, &store, buildpack, *pull_policy, registry)?;
            inspect(&printer, &package, *output)?;
        }
        BuildpackAction::Pull { image, registry } => {
            let store = Store::open()?;
            let _used = store.use_lock()?;
            let policy = Some(PullPolicy::Always);
            let package = fetch(
                &printer,
                &store,
                &format!("docker://{image}"),
                policy,
                registry,
            )?;
            printer.result(&package.main.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A buildpack of slugc's by its short name or id, or another one.
fn fetch(
    printer: &Printer,
    store: &Store,
    text: &str,
    policy: Option<PullPolicy>,
    registry: &RegistryArgs,
) -> Result<Package, Failure> {
    let parts = Parts::in_store(store)?;
    let settings = Settings::read(store)?;
    let puller = Puller {
        store,
        printer,
        registry,
        policy: policy.or(settings.pull_policy).unwrap_or_default(),
        settings: &settings,
    };
    let fetcher = Fetcher {
        puller: &puller,
        again: puller.policy == PullPolicy::Always,
    };
    let short = text.strip_prefix("slugc/").unwrap_or(text);
    let mut modules = if short == package::COMPOSITE {
        buildpacks::own_modules(&parts)?
    } else if parts::BUILDPACKS.contains(&short) {
        vec![Module::read(&parts.buildpack(short))?]
    } else {
        let locator = Locator::parse(text, Path::new(""), |_| false)?;
        let package = fetcher.fetch(&locator)?;
        module::check_orders(&package.modules, |_| false)?;
        return Ok(package);
    };
    if short == package::COMPOSITE {
        modules.push(package::composite(store)?);
    }
    let main = modules.last().map_or_else(
        || GroupElement::new(text, ""),
        |module| module.element.clone(),
    );
    Ok(Package {
        main,
        modules,
        identity: module::Identity::default(),
    })
}

/// Writes a buildpack as what the target's name says: `.cnb`, `.tgz`, a place of images or a folder.
fn pack(
    printer: &Printer,
    store: &Store,
    name: &str,
    target: &str,
    registry: &RegistryArgs,
) -> Result<String, Failure> {
    let found = fetch(printer, store, name, None, registry)?;
    let path = Path::new(target);
    let ends = |end: &str| target.ends_with(end);
    if ends(".tgz") || ends(".tar.gz") {
        let [only] = &found.modules[..] else {
            return Err(Failure::new(
                Exit::Usage,
                format!(
                    "{} is made of {} buildpacks, which no plain archive can hold",
                    found.main,
                    found.modules.len()
                ),
            )
            .hint("write a .cnb file, an image or a folder instead"));
        };
        let archive = package::buildpack(store, only)?;
        package::copy_out(store, &archive, path)?;
        return Ok(format!(
            "Buildpack {}, {}, written to {target}",
            only.element.id,
            size::bytes(archive.size),
        ));
    }
    let is_folder = path.is_dir() || ends("/") || target.starts_with(['.', '/']);
    if is_folder && !ends(".cnb") {
        package::folder(&found, path)?;
        return Ok(format!("Buildpack {}, written to {target}", found.main));
    }
    let manifest = image::package(store, &found.main, &found.modules)?;
    let fetched = Fetched {
        manifest,
        name: None,
        origin: None,
    };
    let transfer = Transfer::new(store, printer, registry, None)?;
    let place = if ends(".cnb") {
        Place::OciArchive {
            file: path.to_owned(),
            tag: None,
        }
    } else {
        Place::target(target)?
    };
    let digest = transfer.deliver(&fetched, &place)?;
    Ok(format!(
        "Buildpack {}, written to {target} ({digest})",
        found.main
    ))
}

fn inspect(printer: &Printer, package: &Package, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        let modules: Vec<_> = package
            .modules
            .iter()
            .map(|module| {
                let buildpack = &module.buildpack;
                serde_json::json!({
                    "id": module.element.id,
                    "version": module.element.version,
                    "api": buildpack.api.to_string(),
                    "name": buildpack.info.name,
                    "homepage": buildpack.info.homepage,
                    "order": buildpack.order,
                    "targets": buildpack.targets,
                })
            })
            .collect();
        let value = serde_json::json!({
            "id": package.main.id,
            "version": package.main.version,
            "buildpacks": modules,
        });
        let text = serde_json::to_string_pretty(&value).or_fail(Exit::General, || {
            "cannot print the buildpack as JSON".to_owned()
        })?;
        printer.result(&text);
        return Ok(());
    }
    printer.result(&format!("Buildpack   {}", package.main));
    printer.result("Buildpacks");
    for module in &package.modules {
        let buildpack = &module.buildpack;
        let kind = if buildpack.is_composite() {
            "composite".to_owned()
        } else {
            let targets: Vec<String> = buildpack
                .targets
                .iter()
                .map(|target| match (&*target.os, &*target.arch) {
                    ("", "") => "any".to_owned(),
                    (os, "") => os.to_owned(),
                    (os, arch) => format!("{os}/{arch}"),
                })
                .collect();
            targets.join(", ")
        };
        let name = buildpack.info.name.as_deref().unwrap_or_default();
        printer.result(&format!(
            "  {}  api {}, {kind}  {name}",
            module.element, buildpack.api
        ));
    }
    let main = package
        .modules
        .iter()
        .find(|module| module.element == package.main);
    let order = main
        .map(|module| &module.buildpack.order[..])
        .unwrap_or_default();
    if !order.is_empty() {
        printer.result("Order");
    }
    groups(printer, order);
    Ok(())
}

/// The groups of an order, for people.
pub(super) fn groups(printer: &Printer, groups: &[OrderGroup]) {
    for (index, group) in groups.iter().enumerate() {
        printer.result(&format!("  group {}", index + 1));
        for element in &group.group {
            let note = if element.optional { "  (optional)" } else { "" };
            printer.result(&format!("    {element}{note}"));
        }
    }
}
