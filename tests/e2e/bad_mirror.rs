//! Mirrors that lie, are empty or are not there: nothing of theirs gets into the store.

use crate::BINARY;
use test_support::{Lie, LyingMirror, Need, TestContext, Who, free_port, requires};

fn refused(lie: Lie, texts: &[&str]) {
    requires!(Need::AptMirror, Need::PlainUser);
    let Some(t) = TestContext::bare(BINARY, Who::Plain) else {
        return;
    };
    let Some(mirror) = LyingMirror::start(lie) else {
        return;
    };
    let url = mirror.url();
    t.slugc()
        .args(["stack", "create", "--mirror", &url])
        .run()
        .failure(4)
        .says(&[&url])
        .says(texts);
    t.slugc()
        .args(["stack", "list"])
        .run()
        .success()
        .never_says(&["slug-13"]);
}

#[test]
fn altered_release() {
    refused(Lie::AlteredRelease, &["InRelease", "signature"]);
}

#[test]
fn unsigned_release() {
    refused(Lie::UnsignedRelease, &["InRelease", "sign"]);
}

#[test]
fn altered_packages() {
    refused(Lie::AlteredPackages, &[".deb", "sha256"]);
}

#[test]
fn truncated_packages() {
    refused(Lie::TruncatedPackages, &[".deb"]);
}

#[test]
fn empty_mirror() {
    refused(Lie::Empty, &["404"]);
}

#[test]
fn nobody_answers() {
    requires!(Need::PlainUser);
    let Some(t) = TestContext::bare(BINARY, Who::Plain) else {
        return;
    };
    let url = format!("http://127.0.0.1:{}/debian", free_port());
    t.slugc()
        .args(["stack", "create", "--mirror", &url])
        .run()
        .failure(4)
        .says(&[&url, "--mirror"]);
}
