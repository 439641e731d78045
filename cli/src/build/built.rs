//! What came of a build, and how long it took.

use crate::ui::printer::Printer;
use crate::ui::size;
use cnb_phases::export;
use cnb_spec::labels;
use oci_image::{Descriptor, Image};
use std::time::{Duration, Instant};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) manifest: Descriptor,
    pub(crate) up_to_date: bool,
    /// Compressed, in bytes.
    pub(crate) size: u64,
    pub(crate) base_size: u64,
    pub(crate) reused: usize,
    pub(crate) added: usize,
    pub(crate) added_bytes: u64,
    /// Process types, the default one first.
    pub(crate) processes: Vec<String>,
    pub(crate) times: Vec<(&'static str, Duration)>,
}

/// The time of each phase.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    last: Instant,
    times: Vec<(&'static str, Duration)>,
}

impl Clock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            last: now,
            times: Vec::new(),
        }
    }

    pub(super) fn lap(&mut self, name: &'static str) {
        let now = Instant::now();
        self.times.push((name, now - self.last));
        self.last = now;
    }

    fn total(mut self) -> Vec<(&'static str, Duration)> {
        self.times.push(("total", self.last - self.start));
        self.times
    }
}

/// There is the image of the last build, and it is what a build would make.
pub(super) fn up_to_date(manifest: Descriptor) -> Built {
    Built {
        manifest,
        up_to_date: true,
        size: 0,
        base_size: 0,
        reused: 0,
        added: 0,
        added_bytes: 0,
        processes: Vec::new(),
        times: Vec::new(),
    }
}

/// Shows the layers of a new image.
pub(super) fn report(
    printer: &Printer,
    exported: &export::Exported,
    run_image: &Image,
    clock: Clock,
) -> Built {
    let mut reused = 0;
    let mut added = 0;
    let mut added_bytes = 0;
    for layer in &exported.layers {
        let word = match layer.state {
            export::LayerState::Reused => {
                reused += 1;
                "Reused"
            }
            export::LayerState::Added => {
                added += 1;
                added_bytes += layer.blob.size;
                "Added "
            }
        };
        printer.line(&format!(
            "{word} {:>9}  {}",
            size::bytes(layer.blob.size),
            layer.name
        ));
    }
    let total = |layers: &[Descriptor]| layers.iter().map(|layer| layer.size).sum::<u64>();
    Built {
        manifest: exported.manifest.clone(),
        up_to_date: false,
        size: total(&exported.image.manifest.layers),
        base_size: total(&run_image.manifest.layers),
        reused,
        added,
        added_bytes,
        processes: process_types(&exported.image),
        times: clock.total(),
    }
}

/// The image's process types, the default one first.
fn process_types(image: &Image) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Process {
        #[serde(rename = "type")]
        kind: String,
    }
    #[derive(Default, serde::Deserialize)]
    struct Label {
        #[serde(default)]
        processes: Vec<Process>,
        #[serde(default, rename = "buildpack-default-process-type")]
        default: Option<String>,
    }
    let label = image.config.config.labels.get(labels::BUILD_METADATA);
    // The label was written a moment ago; what cannot be read is only not shown.
    let Some(label) = label.and_then(|text| serde_json::from_str::<Label>(text).ok()) else {
        return Vec::new();
    };
    let mut types: Vec<String> = label
        .processes
        .into_iter()
        .map(|process| process.kind)
        .collect();
    types.sort_by_key(|kind| Some(kind) != label.default.as_ref());
    types
}
