//! `slugc images`: the images in the store, of apps and by name.

use crate::app::{App, AppName};
use crate::args::{ImagesArgs, Output};
use crate::failure::{Exit, Failure, OrFail};
use crate::images::Images;
use crate::store::Store;
use crate::ui::error::chain;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use oci_image::{Descriptor, Image};
use serde::Serialize;
use std::fs;
use std::process::ExitCode;
use std::time::SystemTime;

/// What is printed of each; the JSON has these names.
#[derive(Debug, Serialize)]
struct Row {
    /// An app's name, or an image's.
    name: String,
    /// `app` or `image`.
    kind: &'static str,
    digest: String,
    /// Compressed, in bytes, the base included.
    size: u64,
    /// As the image says; of reproducible ones, 1980.
    created: Option<String>,
    /// When the image got here or got its name (RFC 3339).
    stored: Option<String>,
    #[serde(skip)]
    at: SystemTime,
}

pub(crate) fn run(args: &ImagesArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let mut rows = Vec::new();
    let tell = |failure: &Failure| printer.warning(&chain(failure));
    for app in apps(&store)? {
        let at = fs::metadata(app.folder().join("image.json")).and_then(|meta| meta.modified());
        let at = at.unwrap_or(SystemTime::UNIX_EPOCH);
        match app.image() {
            Ok(Some(image)) => {
                let name = app.name.as_str().to_owned();
                add(&mut rows, &store, "app", name, &image.manifest, at)
                    .unwrap_or_else(|it| tell(&it));
            }
            Ok(None) => {}
            Err(failure) => tell(&failure),
        }
    }
    for named in Images::of(&store).all()? {
        let added = named.and_then(|(image, at)| {
            let name = image.name.familiar();
            add(&mut rows, &store, "image", name, &image.manifest, at)
        });
        added.unwrap_or_else(|failure| tell(&failure));
    }
    match args.output {
        Output::Json => printer.result(
            &serde_json::to_string_pretty(&rows).or_fail(Exit::General, || {
                "cannot print the images as JSON".to_owned()
            })?,
        ),
        Output::Text => printer.result(&table(&rows, SystemTime::now())),
    }
    Ok(ExitCode::SUCCESS)
}

fn apps(store: &Store) -> Result<Vec<App>, Failure> {
    let listing = || format!("cannot list {}", store.apps().display());
    let mut apps = Vec::new();
    for entry in fs::read_dir(store.apps()).or_fail(Exit::Store, listing)? {
        let name = entry.or_fail(Exit::Store, listing)?.file_name();
        if let Some(Ok(name)) = name.to_str().map(AppName::parse) {
            apps.push(App::of(store, name));
        }
    }
    apps.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    Ok(apps)
}

fn add(
    rows: &mut Vec<Row>,
    store: &Store,
    kind: &'static str,
    name: String,
    manifest: &Descriptor,
    at: SystemTime,
) -> Result<(), Failure> {
    let image = Image::load(store.blobs(), &manifest.digest)
        .or_fail(Exit::Store, || format!("cannot read the image {name}"))?;
    let stored = jiff::Timestamp::try_from(at).ok();
    rows.push(Row {
        name,
        kind,
        digest: manifest.digest.to_string(),
        size: image.manifest.layers.iter().map(|layer| layer.size).sum(),
        created: image.config.created,
        stored: stored.map(|at| at.to_string()),
        at,
    });
    Ok(())
}

/// As `docker images` has it.
fn table(rows: &[Row], now: SystemTime) -> String {
    let mut cells = vec![["NAME", "DIGEST", "CREATED", "SIZE"].map(str::to_owned)];
    for row in rows {
        let short = row.digest.trim_start_matches("sha256:").get(..12);
        let age = now.duration_since(row.at).unwrap_or_default().as_secs();
        cells.push([
            row.name.clone(),
            short.unwrap_or_default().to_owned(),
            ago(age),
            size::bytes(row.size),
        ]);
    }
    let width = |column: usize| cells.iter().map(|row| row[column].len()).max();
    let widths = [0, 1, 2].map(|column| width(column).unwrap_or(0));
    let lines = cells.iter().map(|[name, digest, created, size]| {
        let [one, two, three] = widths;
        format!("{name:one$}   {digest:two$}   {created:three$}   {size}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `5 minutes ago`.
fn ago(seconds: u64) -> String {
    let units = [
        (86_400 * 365, "year"),
        (86_400 * 30, "month"),
        (86_400 * 7, "week"),
        (86_400, "day"),
        (3600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let unit = units.iter().find(|(length, _)| seconds >= *length);
    match unit.map(|(length, name)| (seconds / length, name)) {
        None => "just now".to_owned(),
        Some((1, name)) => format!("1 {name} ago"),
        Some((count, name)) => format!("{count} {name}s ago"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (3600, "1 hour ago"),
            (86_400 * 20, "2 weeks ago"),
            (86_400 * 800, "2 years ago"),
        ] {
            assert_eq!(ago(seconds), text);
        }
    }
}
