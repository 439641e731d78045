//! How a registry departs from a friendly one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::server::{Request, Response};

/// Who may do what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Everybody may do everything.
    #[default]
    Open,
    /// `ann` with the password `pw`.
    Basic,
    /// A token, which the registry's own `/token` gives to Ann, and to everybody to pull.
    Token,
}

/// What becomes of a request to mount a blob.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Mount {
    /// Mounts what it has.
    #[default]
    Mounts,
    /// Opens an upload session instead.
    Session,
    /// Docker Hub's answer to a repository of someone else.
    Refuses,
    /// Mounts what it has, and refuses as Quay does where no repository is named.
    NeedsFrom,
}

/// How the registry departs from a friendly one. Numbers count down: so many requests are affected.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a departure of its own"
)]
pub struct Profile {
    /// Who may do what.
    pub auth: Auth,
    /// What becomes of a request to mount a blob.
    pub mount: Mount,
    /// Upload addresses are relative and carry state in their query.
    pub relative_location: bool,
    /// Upload addresses are at this host instead.
    pub upload_host: Option<String>,
    /// Bodies that are longer get a proxy's 413.
    pub largest_body: Option<usize>,
    /// PUT requests get a 429 with this `Retry-After`.
    pub busy: AtomicUsize,
    /// In seconds.
    pub retry_after: u64,
    /// The connection breaks in the middle of a PUT.
    pub dropped_uploads: AtomicUsize,
    /// The connection breaks in the middle of a blob's GET.
    pub cut_downloads: AtomicUsize,
    /// Every download begins at the beginning.
    pub ignores_ranges: bool,
    /// Blobs are got at this address, with their digest appended.
    pub blobs_at: Option<String>,
    /// Blobs of this length arrive with a flipped bit.
    pub corrupts: Option<usize>,
    /// Manifests arrive with a space more than their digest says.
    pub lies_about_manifests: bool,
    /// Every request for a manifest gets this page.
    pub page: Option<(u16, &'static str)>,
    /// Knows the referrers API and gives so many entries at once.
    pub referrers: Option<usize>,
    /// GET requests of blobs get no answer for so long.
    pub stalls: Option<Duration>,
    /// PATCH requests that are longer get a 416.
    pub longest_chunk: Option<usize>,
    /// A PUT with content is no way to upload a blob.
    pub no_whole_uploads: bool,
    /// What else goes wrong, the first that fits.
    pub faults: Vec<Fault>,
}

/// Something that goes wrong with some requests.
pub struct Fault {
    method: &'static str,
    part: &'static str,
    /// So many requests go well before.
    before: AtomicUsize,
    /// How many requests are affected; it counts down.
    left: AtomicUsize,
    /// Whether any request was affected.
    met: AtomicBool,
    pub(super) does: Does,
}

/// What goes wrong.
pub(super) enum Does {
    /// This is the answer, whatever was asked.
    Answer(Response),
    /// The usual answer, changed.
    Change(fn(Response) -> Response),
    /// No answer for so long.
    Stall(Duration),
    /// The connection ends after so many bytes of the request's body.
    Drop(usize),
}

impl Fault {
    fn on(method: &'static str, part: &'static str, does: Does) -> Self {
        Self {
            method,
            part,
            before: AtomicUsize::new(0),
            left: AtomicUsize::new(usize::MAX),
            met: AtomicBool::new(false),
            does,
        }
    }

    /// Requests of this method (`*`: all) whose target has this part get this answer.
    pub fn answer(method: &'static str, part: &'static str, response: Response) -> Self {
        Self::on(method, part, Does::Answer(response))
    }

    /// Their answers are changed.
    pub fn change(
        method: &'static str,
        part: &'static str,
        change: fn(Response) -> Response,
    ) -> Self {
        Self::on(method, part, Does::Change(change))
    }

    /// They get no answer for so long.
    pub fn stall(method: &'static str, part: &'static str, pause: Duration) -> Self {
        Self::on(method, part, Does::Stall(pause))
    }

    /// Their connection ends after so many bytes of the body.
    pub fn drop(method: &'static str, part: &'static str, bytes: usize) -> Self {
        Self::on(method, part, Does::Drop(bytes))
    }

    /// Only so many requests are affected.
    #[must_use]
    pub fn times(self, count: usize) -> Self {
        Self {
            left: AtomicUsize::new(count),
            ..self
        }
    }

    /// So many requests go well before.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        Self {
            before: AtomicUsize::new(count),
            ..self
        }
    }

    pub(super) fn fits(&self, request: &Request) -> bool {
        let method = self.method == "*" || self.method == request.method;
        method && request.target.contains(self.part)
    }

    /// Takes one of the times; false when there is none left.
    pub(super) fn happens(&self) -> bool {
        let happens = !take(&self.before)
            && (self.left.load(Ordering::Relaxed) == usize::MAX || take(&self.left));
        self.met.fetch_or(happens, Ordering::Relaxed);
        happens
    }

    pub(super) fn was_met(&self) -> bool {
        self.met.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.part)
    }
}

/// Takes one off; false when there is none left.
pub(super) fn take(counter: &AtomicUsize) -> bool {
    counter
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}
