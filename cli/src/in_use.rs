//! What dynos use of the store while they run. Their supervisors and the attendants of detached one-offs live long, so
//! they do not hold the lock that keeps other commands' blobs and roots.

use crate::app::{App, AppName};
use crate::commands::ps;
use crate::failure::{Exit, Failure, OrFail};
use crate::store::Store;
use crate::supervisor;
use crate::ui::printer::Printer;
use oci_image::{Digest, Image};
use slug_runtime::supervisor::{ClientError, Status};
use std::collections::BTreeSet;

/// The manifests of the images that an app's dynos run in, one-offs and those of an earlier release that still stop
/// included; `None` if the app has none.
///
/// Only who holds the store's lock alone can rely on it: dynos of another image begin under that lock.
pub(crate) fn images_of(printer: &Printer, app: &App) -> Result<Option<BTreeSet<Digest>>, Failure> {
    let one_offs = ps::running_one_offs(app)?;
    let status = status(printer, app)?;
    if status.is_none() && one_offs.is_empty() {
        return Ok(None);
    }
    let name = app.name.as_str();
    let parse = |digest: &str| {
        digest.parse().or_fail(Exit::General, || {
            format!("cannot understand which image {name} runs")
        })
    };
    let mut manifests = BTreeSet::new();
    for one_off in one_offs {
        match one_off.image {
            Some(digest) => drop(manifests.insert(parse(&digest)?)),
            None => manifests.extend(app.image()?.map(|image| image.manifest.digest)),
        }
    }
    let Some(status) = status else {
        return Ok(Some(manifests));
    };
    manifests.insert(parse(&status.image)?);
    let releases: BTreeSet<u64> = status.dynos.iter().map(|dyno| dyno.release).collect();
    for version in releases {
        let release = app
            .state()
            .release(version)
            .or_fail(Exit::Store, || format!("cannot read v{version} of {name}"))?;
        manifests.extend(release.and_then(|release| Some(release.image?.manifest.digest)));
    }
    Ok(Some(manifests))
}

fn status(printer: &Printer, app: &App) -> Result<Option<Status>, Failure> {
    let Some(client) = supervisor::find(printer, app)? else {
        return Ok(None);
    };
    let name = app.name.as_str();
    match client.status() {
        Ok(status) => Ok(Some(status)),
        // It may have ended while it was asked.
        Err(_) if supervisor::find(printer, app)?.is_none() => Ok(None),
        Err(error) => Err(unknown(name, error)),
    }
}

fn unknown(name: &str, error: ClientError) -> Failure {
    Failure::new(
        Exit::General,
        format!("cannot find out what the dynos of {name} use"),
    )
    .because(error)
    .hint(format!(
        "nothing was removed; end it with slugc ps:stop -a {name}, then do the same again"
    ))
}

/// An app whose dynos run on one of these unpacked layers. The same holds as for [`images_of`].
pub(crate) fn app_on(
    printer: &Printer,
    store: &Store,
    layers: &[Digest],
) -> Result<Option<AppName>, Failure> {
    for app in App::all(store)? {
        for manifest in images_of(printer, &app)?.into_iter().flatten() {
            let image = Image::load(store.blobs(), &manifest)
                .or_fail(Exit::Store, || format!("cannot read the image {manifest}"))?;
            let diff_ids = &image.config.rootfs.diff_ids;
            if layers.iter().any(|layer| diff_ids.contains(layer)) {
                return Ok(Some(app.name));
            }
        }
    }
    Ok(None)
}
