//! Names of add-ons and of their config vars, as Heroku gives them.

use super::credentials::below;
use super::error::AddonError;
use super::service::Service;

/// Shapes, as in `postgresql-concave-52656`.
const SHAPES: [&str; 32] = [
    "acute",
    "amorphous",
    "angular",
    "animate",
    "asymmetrical",
    "closed",
    "clean",
    "colorful",
    "concave",
    "concentric",
    "contoured",
    "convex",
    "corrugated",
    "crystalline",
    "cubed",
    "curly",
    "curved",
    "cylindrical",
    "deep",
    "defined",
    "dimensional",
    "elliptical",
    "encircled",
    "fitted",
    "flat",
    "flexible",
    "globular",
    "horizontal",
    "octagonal",
    "opaque",
    "parallel",
    "polished",
];

/// Colours that tell the databases of an app apart: `HEROKU_POSTGRESQL_RED_URL`.
pub const COLOURS: [&str; 21] = [
    "AMBER", "AQUA", "BLACK", "BLUE", "BRONZE", "BROWN", "COBALT", "COPPER", "CRIMSON", "CYAN",
    "GOLD", "GRAY", "GREEN", "IVORY", "JADE", "MAROON", "NAVY", "OLIVE", "PINK", "PURPLE", "RED",
];

/// A name like `postgresql-concave-52656`.
pub(super) fn random_name(service: Service) -> Result<String, AddonError> {
    let count = u32::try_from(SHAPES.len()).unwrap_or(1);
    let shape = SHAPES[usize::try_from(below(count)?).unwrap_or(0)];
    let number = 10_000 + below(90_000)?;
    Ok(format!("{}-{shape}-{number}", service.name_prefix()))
}

/// A colour that is not among those in use; beyond the last one they are numbered.
pub(super) fn random_colour(taken: impl Fn(&str) -> bool) -> Result<String, AddonError> {
    let free: Vec<&str> = COLOURS
        .into_iter()
        .filter(|colour| !taken(colour))
        .collect();
    if let Ok(count @ 1..) = u32::try_from(free.len()) {
        let index = usize::try_from(below(count)?).unwrap_or(0);
        return Ok(free[index].to_owned());
    }
    let numbered = |number: usize| format!("{}{number}", COLOURS[0]);
    let mut number = 2;
    while taken(&numbered(number)) {
        number += 1;
    }
    Ok(numbered(number))
}

/// The attachment that has an add-on's colour: `HEROKU_POSTGRESQL_RED`.
pub fn colour_variable(service: Service, colour: &str) -> String {
    let service = service.name_prefix().to_ascii_uppercase();
    format!("HEROKU_{service}_{colour}")
}

/// Whether a text can name an add-on: it becomes a folder's name and part of host names.
pub(super) fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn random_names() {
        let name = random_name(Service::Postgres).unwrap();
        assert!(name.starts_with("postgresql-"), "{name}");
        assert!(is_name(&name), "{name}");
        for bad in ["", "-a", "a-", "A", "a/b", "..", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn colours_do_not_repeat() {
        let mut taken = Vec::new();
        for _ in 0..COLOURS.len() + 2 {
            let colour = random_colour(|colour| taken.iter().any(|other| other == colour)).unwrap();
            assert!(!taken.contains(&colour));
            taken.push(colour);
        }
        assert!(taken.contains(&"AMBER3".to_owned()), "{taken:?}");
        assert_eq!(
            colour_variable(Service::Postgres, "RED"),
            "HEROKU_POSTGRESQL_RED"
        );
    }
}
