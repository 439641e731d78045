//! Names, sizes and quoting.

use super::*;

fn vars(pairs: &[(&str, &str)]) -> ConfigVars {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn names() {
    for good in ["A", "a", "_A", "A_1", "HEROKU", "PORT_", "dyno"] {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
    for bad in ["", "1A", "A-B", "A B", "Ä", "A.B", "A=B"] {
        let refused = matches!(check_name(bad), Err(ConfigVarsError::Characters { .. }));
        assert!(refused, "{bad}");
    }
    let refusal = |name| check_name(name).map_err(|error| error.to_string());
    assert_eq!(
        refusal("__A"),
        Err(
            "__A cannot be a config var's name: names do not begin with two underscores".to_owned()
        )
    );
    assert_eq!(
        refusal("HEROKU_A"),
        Err(
            "HEROKU_A cannot be set: names that begin with HEROKU_ belong to the platform"
                .to_owned()
        )
    );
    for reserved in ["PORT", "DYNO"] {
        assert_eq!(
            refusal(reserved),
            Err(format!(
                "{reserved} cannot be set: each dyno gets its own {reserved} from the platform"
            ))
        );
    }
}

#[test]
fn sizes() {
    let full = vars(&[("AB", &"x".repeat(MOST_BYTES - 2))]);
    assert_eq!(check_all(&full), Ok(()));
    let over = vars(&[("AB", &"x".repeat(MOST_BYTES - 3)), ("C", "z")]);
    assert_eq!(
        check_all(&over),
        Err(ConfigVarsError::TooLarge {
            bytes: MOST_BYTES + 1
        })
    );
    assert_eq!(
        check_all(&vars(&[("A", "x\0y")])),
        Err(ConfigVarsError::Nul {
            name: "A".to_owned()
        })
    );
}

#[test]
fn what_was_meant() {
    let config = vars(&[("SECRET_KEY", ""), ("DEBUG", "")]);
    assert_eq!(nearest_name("secret_key", &config), Some("SECRET_KEY"));
    assert_eq!(nearest_name("SECRET_KAY", &config), Some("SECRET_KEY"));
    assert_eq!(nearest_name("QUITE_ELSE", &config), None);
}

#[test]
fn for_a_shell() {
    for (value, quoted) in [
        ("plain-1.2/x", "plain-1.2/x"),
        ("", ""),
        ("two words", "'two words'"),
        ("$HOME", "'$HOME'"),
        (r"back\slash", r#""back\\slash""#),
        ("it's", "\"it's\""),
        ("a\nb", "\"a\\nb\""),
        ("it's $5 `x` \\ \"q\"", r#""it's \$5 \`x\` \\ \"q\"""#),
    ] {
        assert_eq!(shell_quoted(value), quoted, "{value}");
    }
}

#[test]
fn descriptions() {
    let before = vars(&[("A", "1"), ("B", "2")]);
    for (after, description) in [
        (
            vars(&[("A", "1"), ("B", "2"), ("C", "3"), ("D", "4")]),
            "Set C, D config vars",
        ),
        (vars(&[("A", "9"), ("B", "2")]), "Set A config vars"),
        (vars(&[]), "Remove A, B config vars"),
        (vars(&[("B", "3")]), "Set B and remove A config vars"),
    ] {
        assert_eq!(describe_change(&before, &after), description);
    }
}
