use super::*;

fn metadata() -> Metadata {
    Metadata {
        layout: LAYOUT.to_owned(),
        python: "3.13.5 /usr/bin/python3.13".to_owned(),
        platform: "amd64 debian 13".to_owned(),
        installer: "uv 1".to_owned(),
        requirements: "a".to_owned(),
        settings: "b".to_owned(),
        period: String::new(),
        complete: true,
    }
}

#[test]
fn nothing_changed() {
    let wanted = Metadata {
        complete: false,
        ..metadata()
    };
    assert_eq!(decide(&metadata(), &wanted, false, true), Decision::Reuse);
    assert_eq!(
        decide(&metadata(), &wanted, true, true),
        Decision::Update("a look at the index is due")
    );
}

#[test]
fn a_period_counts_once() {
    let cached = Metadata {
        period: "monday".to_owned(),
        ..metadata()
    };
    assert_eq!(decide(&cached, &cached, false, true), Decision::Reuse);
    assert_eq!(decide(&cached, &metadata(), false, true), Decision::Reuse);
    assert_eq!(
        decide(&metadata(), &cached, false, true),
        Decision::Update("a look at the index is due")
    );
}

#[test]
fn what_changed_decides() {
    let update = "the requirements changed";
    let wanted = Metadata {
        requirements: "c".to_owned(),
        ..metadata()
    };
    assert_eq!(
        decide(&metadata(), &wanted, false, true),
        Decision::Update(update)
    );
    assert_eq!(
        decide(&metadata(), &wanted, false, false),
        Decision::Remake(update)
    );

    let wanted = Metadata {
        python: "3.14.0 /usr/bin/python3.14".to_owned(),
        ..wanted
    };
    assert_eq!(
        decide(&metadata(), &wanted, false, true),
        Decision::Remake("Python changed")
    );
    let killed = Metadata {
        complete: false,
        ..metadata()
    };
    assert!(matches!(
        decide(&killed, &metadata(), false, true),
        Decision::Remake(_)
    ));
}
