//! What dynos use of the store while they run. Their supervisors live long, so they do not hold the lock that keeps
//! other commands' blobs and roots.

use crate::app::App;
use crate::failure::{Exit, Failure, OrFail};
use crate::supervisor;
use crate::ui::printer::Printer;
use oci_image::Digest;
use slug_runtime::supervisor::{ClientError, Status};
use std::collections::BTreeSet;

/// The manifests of the images that an app's dynos run in, those of an earlier release that still stop included; `None`
/// if the app does not run.
///
/// Only who holds the store's lock alone can rely on it: dynos of another image begin under that lock.
pub(crate) fn images_of(printer: &Printer, app: &App) -> Result<Option<BTreeSet<Digest>>, Failure> {
    let Some(status) = status(printer, app)? else {
        return Ok(None);
    };
    let name = app.name.as_str();
    let mut manifests = BTreeSet::new();
    manifests.insert(status.image.parse().or_fail(Exit::General, || {
        format!("cannot understand which image {name} runs")
    })?);
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
