//! What a build says on its standard output. Plain lines: the platform adds its own prefixes.

/// Begins a part of the build's story.
pub(crate) fn section(title: &str) {
    println!("\n[{title}]");
}

/// One line of the story.
pub(crate) fn step(text: impl AsRef<str>) {
    println!("{}", text.as_ref());
}

/// Something that the user should change, but that does not stop the build.
pub(crate) fn warning(title: &str, body: &str) {
    println!("\n[Warning: {title}]");
    println!("{}\n", body.trim_end());
}

/// Why the build stops.
pub(crate) fn error(title: &str, body: &str) {
    eprintln!("\n[Error: {title}]");
    eprintln!("{}\n", body.trim_end());
}
