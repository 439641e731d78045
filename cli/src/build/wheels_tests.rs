use super::*;

fn of(pairs: &[(&str, &str)]) -> Option<String> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    sources(&pairs.iter().map(pair).collect())
}

#[test]
fn settings_that_cannot_be_shared() {
    for pairs in [
        ("PIP_FIND_LINKS", "https://host/wheels"),
        ("PIP_INDEX_URL", "/workspace/simple"),
        (
            "PIP_EXTRA_INDEX_URL",
            "https://host/simple file:///workspace",
        ),
        ("UV_INDEX", "mine=/workspace/simple"),
        ("UV_INSECURE_HOST", "host"),
        ("PIP_CERT", "/workspace/ca.pem"),
        ("SSL_CERT_FILE", "/workspace/ca.pem"),
        ("UV_CONFIG_FILE", "uv.toml"),
    ] {
        assert_eq!(of(&[pairs]), None, "{pairs:?}");
    }
}

#[test]
fn sources_tell_stores_apart() {
    let plain = of(&[]);
    assert_eq!(
        plain,
        of(&[("COLOUR", "red"), ("PIP_DEFAULT_TIMEOUT", "9")])
    );
    let one = of(&[("PIP_INDEX_URL", "https://one/simple")]);
    assert_ne!(plain, one);
    assert_ne!(one, of(&[("PIP_INDEX_URL", "https://two/simple")]));
    assert!(of(&[("UV_INDEX", "mine=https://one/simple https://two/simple")]).is_some());
}

#[test]
fn an_order_is_a_file_of_its_own() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let order = folder.path().join("1");
    assert_eq!(read_order(&order), None);
    fs::write(folder.path().join("other"), "{}")?;
    symlink("other", &order)?;
    assert_eq!(read_order(&order), None);
    fs::remove_file(&order)?;
    fs::write(&order, "{}")?;
    assert_eq!(read_order(&order).as_deref(), Some("{}"));
    Ok(())
}
