//! What differs from run to run, taken out of texts before they are compared.

use crate::context::TestContext;

/// Runs `check`, in which `insta` sees temporary paths, digests, sizes and times by name.
pub fn with_filters(context: &TestContext, check: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let paths = [
        (context.store(), "[STORE]"),
        (context.home(), "[HOME]"),
        (context.scratch().to_owned(), "[SCRATCH]"),
    ];
    for (path, name) in paths {
        settings.add_filter(&literal(&path.to_string_lossy()), name);
    }
    // An app's folder: the fixture's name, the test's process and a count.
    settings.add_filter(r"([a-z][a-z-]*)-\d+-\d+\b", "$1");
    let ago = r"\d{4}/\d\d/\d\d [\d:]{8} \+0000( \((~ )?\d+[smh] ago\))?";
    settings.add_filter(ago, "[WHEN]");
    settings.add_filter(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "[WHEN]");
    settings.add_filter(r"Deploy [0-9a-f]{8}\b", "Deploy [DIGEST]");
    settings.add_filter(r"sha256:[0-9a-f]{64}", "sha256:[DIGEST]");
    settings.add_filter(r"\b\d+(\.\d)? (B|kB|MB|GB)\b", "[SIZE]");
    settings.add_filter(r"\b(\d+m)?\d+(\.\d+)?m?s\b", "[TIME]");
    settings.bind(check);
}

/// A regular expression that matches `text` and nothing else.
fn literal(text: &str) -> String {
    let mut pattern = String::new();
    for character in text.chars() {
        if !character.is_alphanumeric() && character != '/' {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
