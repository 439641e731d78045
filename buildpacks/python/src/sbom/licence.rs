//! Which licence a package has, as far as its metadata says so without doubt.

/// A licence as an SBOM names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Licence {
    /// One identifier of the SPDX licence list.
    Id(String),
    /// Several of them, joined as SPDX does.
    Expression(String),
    /// What the package calls it, where that is not certainly one of the above.
    Name(String),
}

/// Identifiers of the SPDX licence list that Python packages use.
const IDS: &[&str] = &[
    "0BSD",
    "AFL-2.1",
    "AFL-3.0",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-3-Clause",
    "BSD-3-Clause-Clear",
    "BSD-3-Clause-LBNL",
    "BSD-4-Clause",
    "BSD-Source-Code",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CECILL-2.1",
    "CNRI-Python",
    "CPL-1.0",
    "curl",
    "ECL-2.0",
    "EPL-1.0",
    "EPL-2.0",
    "EUPL-1.1",
    "EUPL-1.2",
    "FSFAP",
    "FTL",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ICU",
    "IJG",
    "ISC",
    "JSON",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "libpng-2.0",
    "Libpng",
    "libtiff",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-1.1",
    "MPL-2.0",
    "MS-PL",
    "MulanPSL-2.0",
    "NCSA",
    "OFL-1.1",
    "OpenSSL",
    "OSL-3.0",
    "PostgreSQL",
    "PSF-2.0",
    "Python-2.0",
    "Python-2.0.1",
    "SSPL-1.0",
    "TCL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "UPL-1.0",
    "Vim",
    "W3C",
    "WTFPL",
    "X11",
    "Zlib",
    "zlib-acknowledgement",
    "ZPL-2.1",
];

/// Exceptions of the SPDX list that Python packages use.
const EXCEPTIONS: &[&str] = &[
    "Bootloader-exception",
    "Classpath-exception-2.0",
    "Font-exception-2.0",
    "GCC-exception-2.0",
    "GCC-exception-3.1",
    "LLVM-exception",
    "OpenJDK-assembly-exception-1.0",
    "Qt-GPL-exception-1.0",
];

/// Trove classifiers below `License ::` that mean exactly one licence. Those of "BSD License" or "Apache Software
/// License" mean several.
const CLASSIFIERS: &[(&str, &str)] = &[
    ("Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    (
        "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication",
        "CC0-1.0",
    ),
    ("Eclipse Public License 1.0 (EPL-1.0)", "EPL-1.0"),
    ("Eclipse Public License 2.0 (EPL-2.0)", "EPL-2.0"),
    ("European Union Public Licence 1.1 (EUPL 1.1)", "EUPL-1.1"),
    ("European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"),
    ("GNU Affero General Public License v3", "AGPL-3.0-only"),
    (
        "GNU Affero General Public License v3 or later (AGPLv3+)",
        "AGPL-3.0-or-later",
    ),
    ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    (
        "GNU General Public License v2 or later (GPLv2+)",
        "GPL-2.0-or-later",
    ),
    ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    (
        "GNU General Public License v3 or later (GPLv3+)",
        "GPL-3.0-or-later",
    ),
    (
        "GNU Lesser General Public License v3 (LGPLv3)",
        "LGPL-3.0-only",
    ),
    (
        "GNU Lesser General Public License v3 or later (LGPLv3+)",
        "LGPL-3.0-or-later",
    ),
    ("Historical Permission Notice and Disclaimer (HPND)", "HPND"),
    ("ISC License (ISCL)", "ISC"),
    ("MIT License", "MIT"),
    ("MIT No Attribution License (MIT-0)", "MIT-0"),
    ("Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("PostgreSQL License", "PostgreSQL"),
    ("The Unlicense (Unlicense)", "Unlicense"),
    ("Universal Permissive License (UPL)", "UPL-1.0"),
    ("Zero-Clause BSD (0BSD)", "0BSD"),
    ("zlib/libpng License", "Zlib"),
];

/// What people write in the field `License`, in lower case, that means exactly one licence.
const FREE_TEXT: &[(&str, &str)] = &[
    ("2-clause bsd", "BSD-2-Clause"),
    ("2-clause bsd license", "BSD-2-Clause"),
    ("3-clause bsd", "BSD-3-Clause"),
    ("3-clause bsd license", "BSD-3-Clause"),
    ("apache 2", "Apache-2.0"),
    ("apache 2.0", "Apache-2.0"),
    ("apache 2.0 license", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license v2.0", "Apache-2.0"),
    ("apache license, version 2.0", "Apache-2.0"),
    ("apache software license 2.0", "Apache-2.0"),
    ("bsd 2-clause", "BSD-2-Clause"),
    ("bsd 3 clause", "BSD-3-Clause"),
    ("bsd 3-clause", "BSD-3-Clause"),
    ("bsd 3-clause license", "BSD-3-Clause"),
    ("isc license", "ISC"),
    ("mit license", "MIT"),
    ("mozilla public license 2.0 (mpl 2.0)", "MPL-2.0"),
    ("mpl 2.0", "MPL-2.0"),
    ("mpl2.0", "MPL-2.0"),
    ("psfl-2.0", "PSF-2.0"),
    ("the mit license", "MIT"),
    ("the mit license (mit)", "MIT"),
];

/// Longer names than this are licence texts.
const LONGEST_NAME: usize = 100;

/// The licences of a package: `License-Expression` (PEP 639) counts alone; then classifiers, made certain by the field
/// `License` where they leave open which one is meant; then that field.
pub(super) fn of(
    expression: Option<&str>,
    classifiers: &[String],
    field: Option<&str>,
) -> Vec<Licence> {
    if let Some(expression) = expression {
        return vec![parsed(expression).unwrap_or_else(|| Licence::Name(expression.to_owned()))];
    }
    let stated = field
        .filter(|text| text.len() <= LONGEST_NAME && !text.eq_ignore_ascii_case("unknown"))
        .map(|text| known_text(text).unwrap_or_else(|| Licence::Name(text.to_owned())));
    let classified: Vec<Licence> = classifiers
        .iter()
        .filter_map(|text| of_classifier(text))
        .collect();
    match (classified.as_slice(), stated) {
        ([], stated) => stated.into_iter().collect(),
        ([Licence::Name(_)], Some(certain @ (Licence::Id(_) | Licence::Expression(_)))) => {
            vec![certain]
        }
        _ => classified,
    }
}

fn of_classifier(classifier: &str) -> Option<Licence> {
    let name = classifier.strip_prefix("License ::")?.trim();
    let name = name.strip_prefix("OSI Approved").map_or(name, |rest| {
        rest.trim_start().trim_start_matches("::").trim()
    });
    if name.is_empty() {
        return None;
    }
    let certain = CLASSIFIERS.iter().find(|(known, _)| *known == name);
    Some(match certain {
        Some((_, id)) => Licence::Id((*id).to_owned()),
        None => Licence::Name(name.to_owned()),
    })
}

fn known_text(text: &str) -> Option<Licence> {
    let lower = text.to_lowercase();
    let spelled = FREE_TEXT.iter().find(|(known, _)| *known == lower);
    spelled
        .map(|(_, id)| Licence::Id((*id).to_owned()))
        .or_else(|| parsed(text))
}

/// An SPDX licence expression of known identifiers (SPDX 2.3, annex D).
fn parsed(text: &str) -> Option<Licence> {
    if let Some(id) = id(text) {
        return Some(Licence::Id(id.to_owned()));
    }
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let (mut depth, mut wants_term, mut after_with) = (0_u32, true, false);
    let mut words: Vec<&str> = Vec::new();
    for word in spaced.split_whitespace() {
        match word {
            "(" if wants_term && !after_with => depth += 1,
            ")" if !wants_term => depth = depth.checked_sub(1)?,
            "AND" | "OR" if !wants_term => wants_term = true,
            "WITH" if !wants_term && words.last().is_some_and(|last| id(last).is_some()) => {
                (wants_term, after_with) = (true, true);
            }
            word if wants_term && after_with => {
                EXCEPTIONS.iter().find(|known| **known == word)?;
                (wants_term, after_with) = (false, false);
            }
            word if wants_term => {
                id(word)?;
                wants_term = false;
            }
            _ => return None,
        }
        words.push(word);
    }
    let whole = depth == 0 && !wants_term;
    whole.then(|| Licence::Expression(words.join(" ").replace("( ", "(").replace(" )", ")")))
}

fn id(word: &str) -> Option<&'static str> {
    IDS.iter().find(|known| **known == word).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(text: &str) -> Vec<Licence> {
        vec![Licence::Id(text.to_owned())]
    }

    fn named(text: &str) -> Vec<Licence> {
        vec![Licence::Name(text.to_owned())]
    }

    #[test]
    fn expressions_count_alone() {
        let mit = ["License :: OSI Approved :: MIT License".to_owned()];
        assert_eq!(
            of(Some("BSD-3-Clause"), &mit, Some("GPL")),
            id_of("BSD-3-Clause")
        );
        for good in [
            "MIT OR Apache-2.0",
            "(MIT OR Apache-2.0) AND PSF-2.0",
            "Apache-2.0 WITH LLVM-exception AND MIT",
        ] {
            assert_eq!(
                of(Some(good), &[], None),
                [Licence::Expression(good.to_owned())]
            );
        }
        for odd in [
            "LicenseRef-Own",
            "MIT OR",
            "MIT Apache-2.0",
            "(MIT",
            "MIT)",
            "MIT WITH GPL-2.0-only",
            "(MIT) WITH LLVM-exception",
            "AND",
            "mit or nothing",
        ] {
            assert_eq!(of(Some(odd), &[], None), named(odd), "{odd}");
        }
    }

    #[test]
    fn classifiers_are_certain_or_names() {
        let classifier = |text: &str| vec![format!("License :: OSI Approved :: {text}")];
        assert_eq!(of(None, &classifier("MIT License"), None), id_of("MIT"));
        assert_eq!(
            of(None, &classifier("BSD License"), None),
            named("BSD License")
        );
        assert_eq!(
            of(None, &classifier("BSD License"), Some("BSD-3-Clause")),
            id_of("BSD-3-Clause")
        );
        assert_eq!(
            of(
                None,
                &classifier("Apache Software License"),
                Some("Apache 2.0")
            ),
            id_of("Apache-2.0")
        );
        let vague = [
            "License :: OSI Approved".to_owned(),
            "Topic :: X".to_owned(),
        ];
        assert_eq!(of(None, &vague, Some("MIT")), id_of("MIT"));
        let two = [
            "License :: Public Domain".to_owned(),
            "License :: OSI Approved :: MIT License".to_owned(),
        ];
        assert_eq!(
            of(None, &two, None),
            [named("Public Domain"), id_of("MIT")].concat()
        );
    }

    #[test]
    fn free_text_is_a_name_unless_it_is_certain() {
        assert_eq!(
            of(None, &[], Some("Apache License, Version 2.0")),
            id_of("Apache-2.0")
        );
        assert_eq!(of(None, &[], Some("Dual License")), named("Dual License"));
        assert_eq!(of(None, &[], Some("UNKNOWN")), []);
        assert_eq!(of(None, &[], Some(&"x".repeat(500))), []);
        assert_eq!(of(None, &[], None), []);
    }
}
