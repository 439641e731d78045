//! Names that are not the ones to install.

/// Names to import, with the packages that bring them.
const IMPORTED: [(&str, &str); 25] = [
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("cairosvg", "CairoSVG"),
    ("crypto", "pycryptodome"),
    ("cv2", "opencv-python-headless"),
    ("dateutil", "python-dateutil"),
    ("decouple", "python-decouple"),
    ("discord", "discord.py"),
    ("docx", "python-docx"),
    ("dotenv", "python-dotenv"),
    ("environ", "django-environ"),
    ("fitz", "PyMuPDF"),
    ("git", "GitPython"),
    ("googleapiclient", "google-api-python-client"),
    ("jose", "python-jose"),
    ("jwt", "PyJWT"),
    ("magic", "python-magic"),
    ("mysqldb", "mysqlclient"),
    ("openssl", "pyOpenSSL"),
    ("pil", "Pillow"),
    ("rest-framework", "djangorestframework"),
    ("serial", "pyserial"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("yaml", "PyYAML"),
];

/// Modules of the standard library that people list as requirements.
const STANDARD: [&str; 24] = [
    "argparse",
    "asyncio",
    "base64",
    "collections",
    "csv",
    "datetime",
    "functools",
    "hashlib",
    "io",
    "itertools",
    "json",
    "logging",
    "math",
    "os",
    "pathlib",
    "pickle",
    "random",
    "re",
    "shutil",
    "sqlite3",
    "string",
    "sys",
    "tkinter",
    "uuid",
];

/// Advice about a package that no index knows, when its name says what was meant.
pub(super) fn advice(requirement: &str) -> Option<String> {
    let name = requirement
        .split(['=', '<', '>', '!', '~', '[', ';', ' '])
        .next()?
        .to_ascii_lowercase()
        .replace('_', "-");
    if let Some((_, package)) = IMPORTED.iter().find(|(imported, _)| *imported == name) {
        return Some(format!(
            "{name} is a name to import; the package to install is {package}. Replace it in the requirements."
        ));
    }
    if STANDARD.contains(&name.as_str()) {
        return Some(format!(
            "{name} is a module of Python itself and needs no installing. Remove it from the requirements."
        ));
    }
    match name.as_str() {
        "python" => Some(
            "Python is not installed as a requirement. Remove the line, and write the version in a file .python-version:\n    \
             3.13"
                .to_owned(),
        ),
        // Debian and Ubuntu once patched pip to list it.
        "pkg-resources" => Some(
            "pip freeze of some distributions lists pkg-resources by mistake; there is no such package. Remove the line."
                .to_owned(),
        ),
        _ => None,
    }
}

/// A package that has files for other systems only, by the platforms that its wheels are for.
pub(super) fn of_other_system(output: &str) -> Option<(String, String)> {
    let (_, rest) = output.split_once("Wheels are available for `")?;
    let (name, rest) = rest.split_once('`')?;
    let (platforms, _) = rest.split_once('\n').unwrap_or((rest, ""));
    let of = |mark: &str| platforms.contains(mark);
    if of("linux") {
        return Some(of_other_linux(name, platforms));
    }
    let (system, marker) = match (of("`win"), of("`macosx")) {
        (true, false) => ("Windows", "win32"),
        (false, true) => ("macOS", "darwin"),
        _ => return None,
    };
    Some((
        format!("{name} is for {system} only"),
        format!(
            "This version of {name} has files for {system} alone, and the image is Linux. If the app needs it only there, \
             say so in the\nrequirements:\n    {name} ; sys_platform == \"{marker}\"\n\
             If it came with pip freeze, remove it: what needs it will ask for it."
        ),
    ))
}

/// Linux, and still another one: an Alpine, a newer C library, another processor.
fn of_other_linux(name: &str, platforms: &str) -> (String, String) {
    let is_this_processor = platforms.contains(std::env::consts::ARCH);
    if is_this_processor && !platforms.contains("manylinux") && platforms.contains("musllinux") {
        return (
            format!("{name} has files for Alpine Linux only"),
            format!(
                "This version of {name} was built for another C library (musl). Use a version that has a file for manylinux, which \
                 is\nwhat Debian takes."
            ),
        );
    }
    if is_this_processor {
        return (
            format!("{name} needs a newer C library"),
            format!(
                "The files of this version of {name} were built on a newer Linux than the stack: the platforms above end with the \
                 glibc that\nthey need. Use an older version of the package, or a newer stack."
            ),
        );
    }
    (
        format!("{name} has no file for this processor"),
        format!(
            "This version of {name} has files for other processors only (see the platforms above), and no source that could be \
             compiled.\nUse a version that has one for {}, or build on such a machine.",
            std::env::consts::ARCH
        ),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_spelling() {
        assert!(advice("PIL==9").unwrap().contains("Pillow"));
        assert!(
            advice("rest_framework")
                .unwrap()
                .contains("djangorestframework")
        );
        assert!(advice("json").unwrap().contains("Python itself"));
        assert_eq!(advice("alhpa"), None);
    }

    #[test]
    fn tables_are_in_order() {
        assert!(IMPORTED.is_sorted());
        assert!(STANDARD.is_sorted());
    }
}
