//! `slugc settings`: defaults for builds, as `pack config` keeps them for pack.

use crate::args::{MirrorAction, Output, SettingsAction, SettingsArgs, spelled};
use crate::failure::{Exit, Failure, OrFail};
use crate::place::{self, Place};
use crate::platform::settings::Settings;
use crate::store::Store;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use slug_runtime::nearest::nearest;
use std::process::ExitCode;

pub(crate) fn run(args: &SettingsArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let mut settings = Settings::read(&store)?;
    let before = settings.clone();
    match &args.action {
        None => list(&printer, &settings, args.output)?,
        Some(SettingsAction::DefaultBuilder { name, unset }) => match (name, unset) {
            (Some(name), _) => {
                // `slugc` is slugc's own stack and buildpacks.
                if name != "slugc" {
                    Place::parse(name)?;
                }
                settings.default_builder = Some(name.clone());
                printer.result(&format!("Builds that name no builder take {name}"));
            }
            (None, true) => {
                settings.default_builder = None;
                printer.result("Builds that name no builder take slugc's own stack");
            }
            (None, false) => printer.result(settings.default_builder.as_deref().unwrap_or("slugc")),
        },
        Some(SettingsAction::PullPolicy { policy, unset }) => {
            if *unset {
                settings.pull_policy = None;
            }
            if policy.is_some() {
                settings.pull_policy = *policy;
            }
            printer.result(&spelled(&settings.pull_policy.unwrap_or_default()));
        }
        Some(SettingsAction::CacheLimit { size, unset }) => {
            if *unset {
                settings.cache_limit = None;
            }
            if let Some(text) = size {
                settings.cache_limit = Some(limit(text)?);
            }
            printer.result(&size::bytes(settings.cache_limit()));
        }
        Some(SettingsAction::RegistryIndex { folder, unset }) => match (folder, unset) {
            (Some(folder), _) => {
                let folder = folder.canonicalize().or_fail(Exit::Input, || {
                    format!("cannot find the index {}", folder.display())
                })?;
                if !folder.is_dir() {
                    return Err(Failure::new(
                        Exit::Input,
                        format!("the index {} is no folder", folder.display()),
                    ));
                }
                printer.result(&format!(
                    "Buildpacks of the registry are looked up in {}",
                    folder.display()
                ));
                settings.registry_index = Some(folder);
            }
            (None, true) => {
                settings.registry_index = None;
                printer.result("There is no index of buildpacks");
            }
            (None, false) => printer.result(&settings.registry_index.as_ref().map_or_else(
                || "There is no index of buildpacks".to_owned(),
                |folder| folder.display().to_string(),
            )),
        },
        Some(SettingsAction::RunImageMirrors { action }) => {
            mirrors_of_run_images(&printer, &mut settings, action.as_ref())?;
        }
        Some(SettingsAction::RegistryMirrors { action }) => {
            mirrors_of_registries(&printer, &mut settings, action.as_ref())?;
        }
    }
    if settings != before {
        settings.write(&store)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(printer: &Printer, settings: &Settings, output: Output) -> Result<(), Failure> {
    if output == Output::Json {
        let text = serde_json::to_string_pretty(settings).or_fail(Exit::General, || {
            "cannot print the settings as JSON".to_owned()
        })?;
        printer.result(&text);
        return Ok(());
    }
    let builder = settings.default_builder.as_deref().unwrap_or("slugc");
    printer.result(&format!("default-builder    {builder}"));
    let policy = spelled(&settings.pull_policy.unwrap_or_default());
    printer.result(&format!("pull-policy        {policy}"));
    if let Some(limit) = settings.cache_limit {
        printer.result(&format!("cache-limit        {}", size::bytes(limit)));
    }
    if let Some(folder) = &settings.registry_index {
        printer.result(&format!("registry-index     {}", folder.display()));
    }
    for (name, mirrors) in &settings.run_image_mirrors {
        printer.result(&format!(
            "run-image-mirrors  {name}: {}",
            mirrors.join(", ")
        ));
    }
    for (name, mirror) in &settings.registry_mirrors {
        printer.result(&format!("registry-mirrors   {name}: {mirror}"));
    }
    Ok(())
}

/// A whole number of bytes, or of a decimal unit: `20GB`.
fn limit(text: &str) -> Result<u64, Failure> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => 0,
    };
    let limit = number.parse::<u64>().ok();
    limit
        .and_then(|number| number.checked_mul(factor))
        .filter(|limit| *limit > 0)
        .ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{text:?} is no size"))
                .hint("write a whole number with B, kB, MB, GB or TB, for example 20GB")
        })
}

fn mirrors_of_run_images(
    printer: &Printer,
    settings: &mut Settings,
    action: Option<&MirrorAction>,
) -> Result<(), Failure> {
    let known = &mut settings.run_image_mirrors;
    match action {
        None | Some(MirrorAction::List) => {
            for (name, mirrors) in known {
                printer.result(&format!("{name}: {}", mirrors.join(", ")));
            }
        }
        Some(MirrorAction::Add { name, mirrors }) => {
            for name in mirrors.iter().chain([name]) {
                place::reference(name)?;
            }
            let list = known.entry(name.clone()).or_default();
            for mirror in mirrors {
                if !list.contains(mirror) {
                    list.push(mirror.clone());
                }
            }
            printer.result(&format!("{name}: {}", list.join(", ")));
        }
        Some(MirrorAction::Remove { name, mirrors }) => {
            let Some(list) = known.get_mut(name) else {
                let names = known.keys().map(String::as_str);
                return Err(no_mirrors(name, nearest(name, names)));
            };
            list.retain(|mirror| !mirrors.is_empty() && !mirrors.contains(mirror));
            if list.is_empty() {
                known.remove(name);
            }
        }
    }
    Ok(())
}

fn mirrors_of_registries(
    printer: &Printer,
    settings: &mut Settings,
    action: Option<&MirrorAction>,
) -> Result<(), Failure> {
    let known = &mut settings.registry_mirrors;
    match action {
        None | Some(MirrorAction::List) => {
            for (name, mirror) in known {
                printer.result(&format!("{name}: {mirror}"));
            }
        }
        Some(MirrorAction::Add { name, mirrors }) => {
            let [mirror] = &mirrors[..] else {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("the registry {name} can have one mirror"),
                )
                .hint("name the mirror to ask; registries.conf can have several"));
            };
            for host in [name, mirror].into_iter().filter(|host| *host != "*") {
                let is_host = format!("{host}/x")
                    .parse::<oci_image::Reference>()
                    .is_ok_and(|it| it.registry() == host && it.repository() == "x")
                    || host == "docker.io";
                if !is_host {
                    return Err(Failure::new(
                        Exit::Usage,
                        format!("{host:?} is no registry's host"),
                    )
                    .hint("write HOST or HOST:PORT, for example mirror.example:5000"));
                }
            }
            known.insert(name.clone(), mirror.clone());
            printer.result(&format!("{name}: {mirror}"));
        }
        Some(MirrorAction::Remove { name, .. }) => {
            if known.remove(name).is_none() {
                let names = known.keys().map(String::as_str);
                return Err(no_mirrors(name, nearest(name, names)));
            }
        }
    }
    Ok(())
}

fn no_mirrors(name: &str, meant: Option<&str>) -> Failure {
    let failure = Failure::new(Exit::Input, format!("{name} has no mirrors"));
    match meant {
        Some(meant) => failure.hint(format!("did you mean {meant}?")),
        None => failure.hint("slugc settings lists them"),
    }
}
