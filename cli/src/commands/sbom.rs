//! `slugc sbom`: what is in an image.

use crate::app::{App, AppName};
use crate::args::{SbomArgs, SbomLayer};
use crate::failure::{Exit, Failure, OrFail};
use crate::place::{Place, Source};
use crate::referrers;
use crate::sbom::{self, Bill, Documents, Format};
use crate::store::{self, Store};
use crate::transfer::{Fetched, Transfer};
use crate::ui::printer::{Detail, Printer};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use std::process::ExitCode;

pub(crate) fn run(args: &SbomArgs) -> Result<ExitCode, Failure> {
    // What is printed is the document alone.
    let printer = Printer::new(Detail::Quiet);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let (app, source) = source(&store, args)?;
    if args.layer == SbomLayer::Build {
        return of_build(&store, &printer, args, app.as_ref());
    }
    let transfer = Transfer::new(&store, &printer, &args.registry, args.platform.as_deref())?;
    if args.output_dir.is_none()
        && args.platform.is_none()
        && let Source::Elsewhere(Place::Registry(name)) = &source
        && let Some(document) = referrers::sbom(&args.registry, name, args.format)?
    {
        printer.bytes(&document);
        return Ok(ExitCode::SUCCESS);
    }
    let fetched = transfer.fetch(&source)?;
    let (bill, documents) = read(&store, &source, &fetched)?;
    match &args.output_dir {
        None => {
            printer.bytes(&bill.document(args.format)?);
        }
        Some(folder) => {
            write(folder, &bill)?;
            write_documents(&folder.join("layers/sbom/launch"), &documents)?;
            printer.result(&folder.display().to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The SBOM of an image that is in the store now.
pub(crate) fn bill(store: &Store, source: &Source, fetched: &Fetched) -> Result<Bill, Failure> {
    read(store, source, fetched).map(|(bill, _)| bill)
}

fn read(store: &Store, source: &Source, fetched: &Fetched) -> Result<(Bill, Documents), Failure> {
    let repository = match source {
        Source::Elsewhere(Place::Registry(name)) => Some(name),
        _ => None,
    };
    let name = match (&fetched.name, source) {
        (Some(name), _) => name.familiar(),
        (None, source) => source.to_string(),
    };
    let name = name.split('@').next().unwrap_or(&name);
    sbom::of_image(store, &fetched.manifest, name, repository)
}

fn source(store: &Store, args: &SbomArgs) -> Result<(Option<App>, Source), Failure> {
    let app = match &args.image {
        Some(text) => match AppName::parse(text) {
            Ok(name) => Some(App::of(store, name)).filter(|app| app.folder().is_dir()),
            Err(_) => None,
        },
        None => Some(App::known(store, &args.app)?),
    };
    if let Some(app) = app {
        let image = app.built_image()?;
        let source = Source::app(&app.name, image.manifest)?;
        return Ok((Some(app), source));
    }
    let text = args.image.as_deref().unwrap_or_default();
    Ok((None, Source::find(store, text)?))
}

/// Images have nothing that was there for their builds only; the app's layers folder has what was written then.
fn of_build(
    store: &Store,
    printer: &Printer,
    args: &SbomArgs,
    app: Option<&App>,
) -> Result<ExitCode, Failure> {
    let Some(app) = app else {
        return Err(Failure::new(
            Exit::Usage,
            "only an app's last build is known, not what other images were built with",
        )
        .hint("name an app of this store, or leave --layer out"));
    };
    let manifest = app.built_image()?.manifest;
    let bill = sbom::of_build(store, &manifest, app.name.as_str(), &app.layers())?;
    match &args.output_dir {
        None => {
            printer.bytes(&bill.document(args.format)?);
        }
        Some(folder) => {
            write(folder, &bill)?;
            let documents = sbom::written(&app.layers().join("sbom/build"))?;
            write_documents(&folder.join("layers/sbom/build"), &documents)?;
            printer.result(&folder.display().to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `slugc build --sbom-output-dir`: as `pack build` lays them out.
pub(crate) fn copy(printer: &Printer, app: &App, folder: &Path) -> Result<(), Failure> {
    for kind in ["launch", "build"] {
        let documents = sbom::written(&app.layers().join("sbom").join(kind))?;
        write_documents(&folder.join(kind), &documents)?;
    }
    printer.line(&format!("SBOM files written to {}", folder.display()));
    Ok(())
}

fn write(folder: &Path, bill: &Bill) -> Result<(), Failure> {
    make(folder)?;
    for format in Format::ALL {
        save(&folder.join(format.file_name()), &bill.document(format)?)?;
    }
    Ok(())
}

/// The paths come from an image: they must stay below the folder.
fn write_documents(folder: &Path, documents: &Documents) -> Result<(), Failure> {
    for (path, bytes) in documents {
        let below = Path::new(path);
        let stays = below
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !stays {
            return Err(Failure::new(
                Exit::Input,
                format!("the image has an SBOM file with the path {path:?}, which is none"),
            )
            .hint("leave --output-dir out to print what it says"));
        }
        let path = folder.join(below);
        make(path.parent().unwrap_or(folder))?;
        save(&path, bytes)?;
    }
    Ok(())
}

fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .or_fail(Exit::Input, || format!("cannot make {}", folder.display()))
        .map_err(|failure| failure.hint("name a folder that you may write to"))
}

/// The files are for others too.
fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    store::write_file(path, bytes)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))
        .or_fail(Exit::Input, || {
            format!("cannot open {} to others", path.display())
        })
}
