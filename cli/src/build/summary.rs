//! The closing summary of a build.

use crate::app::App;
use crate::build::Built;
use crate::ui::printer::Printer;
use crate::ui::size;
use slug_runtime::state::Release;

/// Image digest, size, what was reused, time per phase, and the release if one was made.
pub(crate) fn print(printer: &Printer, app: &App, built: &Built, release: Option<&Release>) {
    if printer.is_quiet() {
        printer.result(&built.manifest.digest.to_string());
        return;
    }
    if built.up_to_date {
        printer.result(&format!(
            "{} is up to date: {}",
            printer.style().bold(app.name.as_str()),
            built.manifest.digest
        ));
        if let Some(release) = release {
            printer.result(&format!("Released v{}", release.version));
        }
        return;
    }
    printer.heading("Done");
    printer.line(&format!("Image    {}", app.name.as_str()));
    printer.line(&format!("Digest   {}", built.manifest.digest));
    printer.line(&format!(
        "Size     {} compressed, of which base {}",
        size::bytes(built.size),
        size::bytes(built.base_size)
    ));
    printer.line(&format!(
        "Layers   {} reused, {} new ({} written)",
        built.reused,
        built.added,
        size::bytes(built.added_bytes)
    ));
    let times = built
        .times
        .iter()
        .map(|(name, time)| format!("{name} {}", size::duration(*time)))
        .collect::<Vec<_>>()
        .join(", ");
    printer.line(&format!("Time     {times}"));
    if let Some(release) = release {
        printer.line(&format!("Release  v{}", release.version));
    }
    if !built.processes.is_empty() {
        printer.line(&format!(
            "Run it   slugc launch {} -a {}",
            built.processes[0],
            app.name.as_str()
        ));
    }
}
