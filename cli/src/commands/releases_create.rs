//! `slugc releases:create IMAGE`: an image that was built elsewhere as the app's next release.

use crate::app::App;
use crate::args::ReleasesCreateArgs;
use crate::failure::{Exit, Failure, OrFail};
use crate::place::Source;
use crate::release::{self, Made, Plan};
use crate::store::Store;
use crate::transfer::Transfer;
use crate::ui::printer::{Detail, Printer};
use cnb_spec::target::oci_architecture;
use oci_image::Image;
use slug_runtime::processes::Processes;
use slug_runtime::state::ReleaseImage;
use std::process::ExitCode;

pub(crate) fn run(args: &ReleasesCreateArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let app = App::known_or_new(&store, &args.app, &printer)?;
    let name = app.name.as_str();
    let transfer = Transfer::new(&store, &printer, &args.registry, None)?;
    let fetched = transfer.fetch(&Source::find(&store, &args.image)?)?;
    let image = Image::load(store.blobs(), &fetched.manifest.digest)
        .or_fail(Exit::Input, || {
            format!("cannot read the image {}", args.image)
        })?;
    runs_here(&args.image, &image)?;
    // Whether all of it is there is known when it is unpacked, as a launch does anyway.
    store.unpacked(&image, &format!("the image {}", args.image))?;
    app.create()?;
    let stack = image.config.config.labels.get("io.buildpacks.stack.id");
    let wanted = ReleaseImage {
        manifest: fetched.manifest,
        stack: stack.cloned().unwrap_or_default(),
    };
    let made = release::make(&printer, &store, &app, |current| {
        let now = current.and_then(|release| release.image.as_ref());
        if now.is_some_and(|now| now.manifest.digest == wanted.manifest.digest) {
            return Ok(None);
        }
        Ok(Some(Plan {
            description: format!("Deploy {}", args.image),
            image: Some(wanted),
            config: current.map_or_else(Default::default, |release| release.config.clone()),
        }))
    })?;
    printer.result(&match made {
        Made::Release { release, .. } => {
            format!(
                "Releasing {} to ⬢ {name}... done, v{}",
                args.image, release.version
            )
        }
        Made::Nothing { current } => {
            let version = current.map_or(0, |release| release.version);
            format!("v{version} of ⬢ {name} runs {} already", args.image)
        }
    });
    Ok(ExitCode::SUCCESS)
}

/// An image that cannot run is refused before it is anybody's release.
fn runs_here(shown: &str, image: &Image) -> Result<(), Failure> {
    let (os, architecture) = (&image.config.os, &image.config.architecture);
    let own = oci_architecture(std::env::consts::ARCH);
    if (os.as_str(), architecture.as_str()) != ("linux", own) {
        return Err(Failure::new(
            Exit::Input,
            format!("the image {shown} is for {os}/{architecture}, this machine is linux/{own}"),
        )
        .hint("build it for this machine, or name an index that has both"));
    }
    Processes::of(image).map(drop).map_err(|error| {
        Failure::new(Exit::Input, format!("cannot run the image {shown}")).because(error)
    })
}
