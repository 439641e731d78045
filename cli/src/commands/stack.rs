//! `slugc stack create|list|inspect|export|push|pull|rm`.

use crate::addon_root;
use crate::args::{Output, StackAction, StackPullArgs, StackPushArgs};
use crate::failure::{Exit, Failure, OrFail};
use crate::in_use;
use crate::place::Place;
use crate::stack::{self, Making, Stack};
use crate::store::{self, Store};
use crate::transfer::{Fetched, Transfer};
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use slug_runtime::addons::{Addons, is_running};
use std::fs;
use std::process::ExitCode;

pub(crate) fn run(action: StackAction) -> Result<ExitCode, Failure> {
    let store = Store::open()?;
    match action {
        StackAction::Create {
            name,
            force,
            update,
            lock_out,
            mirror,
            detail,
        } => {
            let printer = Printer::new(Detail::from(&detail));
            // Roots of the same name are replaced: nobody may be running in them.
            let _lock = if force {
                let lock = store.exclusive_lock(&printer)?;
                let old = Stack::read(&store, &name)?;
                remove_roots(&printer, &store, old.as_ref())?;
                lock
            } else {
                store.use_lock()?
            };
            let making = Making {
                mirror: mirror.mirror.as_deref(),
                update,
                force,
            };
            let made = if name.starts_with(addon_root::PREFIX) {
                let root = addon_root::make(&store, &printer, &name, &making)?;
                format!("{} {}", root.name, root.diff_id)
            } else {
                let stack = stack::make(&store, &printer, &name, &making)?;
                format!("{} {}", stack.name, stack.run_image.digest)
            };
            if let Some(file) = lock_out {
                let lock = Stack::lock_file(&store, &name);
                fs::copy(&lock, &file).or_fail(Exit::General, || {
                    format!("cannot write the lock to {}", file.display())
                })?;
            }
            printer.result(&made);
        }
        StackAction::List => {
            let printer = Printer::new(Detail::Normal);
            let _used = store.use_lock()?;
            for name in names(&store)? {
                if let Some(stack) = Stack::read(&store, &name)? {
                    printer.result(&format!("{name}  {}", stack.summary));
                }
            }
        }
        StackAction::Export {
            name,
            run,
            build,
            registry,
            mirror,
        } => {
            let printer = Printer::new(Detail::Normal);
            let target = |it: Option<String>| it.map(|it| Place::target(&it)).transpose();
            let targets = [target(run)?, target(build)?];
            let _used = store.use_lock()?;
            let stack = stack::ensure(&store, &printer, &name, mirror.mirror.as_deref())?;
            let transfer = Transfer::new(&store, &printer, &registry, None)?;
            for (target, manifest) in targets
                .into_iter()
                .zip([stack.run_image, stack.build_image])
            {
                let Some(target) = target else { continue };
                let image = Fetched {
                    manifest,
                    name: None,
                    origin: None,
                };
                printer.result(&transfer.deliver(&image, &target)?);
            }
        }
        StackAction::Push(args) => push(&store, &args)?,
        StackAction::Pull(args) => pull(&store, &args)?,
        StackAction::Inspect { name, output } => inspect(&store, &name, output)?,
        StackAction::Rm { name } => {
            let printer = Printer::new(Detail::Normal);
            let _alone = store.exclusive_lock(&printer)?;
            let folder = store.stack(&name);
            if name.contains('/') || name.starts_with('.') || !folder.is_dir() {
                return Err(missing(&name));
            }
            refuse_running_servers(&store, &name)?;
            let stack = Stack::read(&store, &name)?;
            remove_roots(&printer, &store, stack.as_ref())?;
            store::remove_tree(&folder)?;
            printer.result(&format!(
                "Removed the stack {name}; slugc cache prune removes its blobs"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn push(store: &Store, args: &StackPushArgs) -> Result<(), Failure> {
    let printer = Printer::new(Detail::Normal);
    let target = Place::target(&args.target)?;
    let _used = store.use_lock()?;
    let stack = stack::ensure(store, &printer, &args.name, args.mirror.mirror.as_deref())?;
    let transfer = Transfer::new(store, &printer, &args.registry, None)?;
    for written in stack.push(&transfer, &target)? {
        printer.result(&written);
    }
    Ok(())
}

fn pull(store: &Store, args: &StackPullArgs) -> Result<(), Failure> {
    let printer = Printer::new(Detail::Normal);
    let source = Place::parse(&args.source)?;
    let _used = store.use_lock()?;
    let transfer = Transfer::new(store, &printer, &args.registry, None)?;
    let stack = Stack::pull(&transfer, &source)?;
    printer.result(&format!("{} {}", stack.name, stack.run_image.digest));
    Ok(())
}

/// Removes a stack's unpacked layers, unless dynos run on them. The caller holds the store's lock alone.
fn remove_roots(printer: &Printer, store: &Store, stack: Option<&Stack>) -> Result<(), Failure> {
    let Some(stack) = stack else {
        return Ok(());
    };
    let layers = [stack.run.diff_id, stack.build.diff_id];
    if let Some(app) = in_use::app_on(printer, store, &layers)? {
        let app = app.as_str();
        return Err(Failure::new(
            Exit::Input,
            format!("{app} runs on the stack {}", stack.name),
        )
        .hint(format!("stop it first: slugc ps:stop -a {app}")));
    }
    for root in stack.build_lowers() {
        store::remove_tree(&root)?;
    }
    Ok(())
}

/// Servers of add-ons run in what belongs to one of [`addon_root`]'s.
fn refuse_running_servers(store: &Store, name: &str) -> Result<(), Failure> {
    let looking = || "cannot find out which add-ons run".to_owned();
    let addons = Addons::new(store.root());
    for addon in addons.all().or_fail(Exit::Store, looking)? {
        let is_of = name == format!("{}{}", addon_root::PREFIX, addon.service);
        if is_of && is_running(&addons, &addon.name).or_fail(Exit::Store, looking)? {
            let (addon, app) = (addon.name, addon.app);
            return Err(Failure::new(Exit::Input, format!("{addon} runs in {name}"))
                .hint(format!("stop it first: slugc addons:stop {addon} -a {app}")));
        }
    }
    Ok(())
}

fn names(store: &Store) -> Result<Vec<String>, Failure> {
    let listing = || format!("cannot list {}", store.stacks().display());
    let mut names = Vec::new();
    for entry in fs::read_dir(store.stacks()).or_fail(Exit::Store, listing)? {
        let entry = entry.or_fail(Exit::Store, listing)?;
        if entry.path().is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn missing(name: &str) -> Failure {
    Failure::new(
        Exit::Input,
        format!("there is no stack {name:?} in the store"),
    )
    .hint(format!(
        "slugc stack list shows what is there; slugc stack create {} makes one",
        debian_stack::DEFAULT
    ))
}

fn inspect(store: &Store, name: &str, output: Output) -> Result<(), Failure> {
    let _used = store.use_lock()?;
    let printer = Printer::new(Detail::Normal);
    let stack = Stack::read(store, name)?.ok_or_else(|| missing(name))?;
    let lock = debian_stack::Lock::read(&Stack::lock_file(store, name))
        .or_fail(Exit::Store, || {
            format!("cannot read the lock of the stack {name}")
        })?;
    if output == Output::Json {
        let value = serde_json::json!({ "stack": stack, "lock": lock });
        let text = serde_json::to_string_pretty(&value).or_fail(Exit::General, || {
            "cannot print the stack as JSON".to_owned()
        })?;
        printer.result(&text);
        return Ok(());
    }
    printer.result(&format!("Stack        {}", stack.name));
    printer.result(&format!("Contents     {}", stack.summary));
    printer.result(&format!("Run image    {}", stack.run_image.digest));
    printer.result(&format!(
        "  layer      {}  {}",
        stack.run.diff_id,
        size::bytes(stack.run.size)
    ));
    printer.result(&format!("Build image  {}", stack.build_image.digest));
    printer.result(&format!(
        "  layer      {}  {}",
        stack.build.diff_id,
        size::bytes(stack.build.size)
    ));
    printer.result("Packages");
    for package in &lock.packages {
        printer.result(&format!(
            "  {:<5}  {} {} {}",
            package.layer.name(),
            package.name,
            package.version,
            package.architecture
        ));
    }
    Ok(())
}
