#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn image(label: Option<&str>, entrypoint: &[&str]) -> Image {
    let mut image = Image::empty("linux", "amd64");
    let config = &mut image.config.config;
    config.entrypoint = entrypoint.iter().map(|word| (*word).to_owned()).collect();
    if let Some(label) = label {
        let name = labels::BUILD_METADATA.to_owned();
        config.labels.insert(name, label.to_owned());
    }
    image
}

fn processes() -> Processes {
    let label = r#"{"buildpacks":[],"launcher":{},"processes":[
        {"type":"web","command":["gunicorn"],"args":["app:app","--bind","0.0.0.0:$PORT"],"direct":true,"buildpackID":"a"},
        {"type":"worker","command":["bash","-c","python \"do work.py\""],"args":null,"direct":true,"buildpackID":"a"},
        {"type":"old","command":"rake","args":null,"direct":false,"buildpackID":"a"}]}"#;
    Processes::of(&image(Some(label), &["/cnb/process/worker"])).unwrap()
}

fn one_off(words: &[&str]) -> Vec<String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    processes().one_off(&words).unwrap().argv
}

fn start(name: &str) -> Result<Command, ProcessesError> {
    processes().start(&name.parse().unwrap())
}

#[test]
fn types_start_through_their_links() {
    let web = start("web").unwrap();
    assert_eq!(web.argv, ["/cnb/process/web"]);
    assert_eq!(web.shown, "gunicorn app:app --bind '0.0.0.0:$PORT'");
    assert_eq!(start("worker").unwrap().shown, "python \"do work.py\"");
    assert_eq!(processes().default_type().unwrap().as_str(), "web");
}

#[test]
fn unknown_types_are_named_with_what_there_is() {
    assert_eq!(
        start("wrker").unwrap_err().to_string(),
        "the image has no process type wrker: did you mean worker? It has web, worker, old"
    );
    assert_eq!(
        start("clock").unwrap_err().to_string(),
        "the image has no process type clock: it has web, worker, old"
    );
}

#[test]
fn programs_inside_dynos_leave_the_launcher_out() {
    let inside = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        processes().inside(&words).unwrap().argv
    };
    assert_eq!(inside(&["echo $A; ls"]), ["bash", "-c", "echo $A; ls"]);
    assert_eq!(inside(&["ls", "a b"]), ["ls", "a b"]);
    let line = "python \"do work.py\" 'a b'";
    assert_eq!(inside(&["worker", "a b"]), ["bash", "-c", line]);
    assert!(processes().inside(&[]).is_err());
}

#[test]
fn one_offs_go_through_the_launcher() {
    assert_eq!(one_off(&["echo $A; ls"]), [LAUNCHER, "echo $A; ls"]);
    assert_eq!(
        one_off(&["python", "-c", "print('a b')", ""]),
        [LAUNCHER, r"python -c 'print('\''a b'\'')' ''"]
    );
}

#[test]
fn a_process_type_stands_for_its_command() {
    assert_eq!(one_off(&["web"]), ["/cnb/process/web"]);
    assert_eq!(one_off(&["web", "--help"]), ["/cnb/process/web", "--help"]);
    assert_eq!(
        one_off(&["worker", "4 2"]),
        [LAUNCHER, "python \"do work.py\" '4 2'"]
    );
    assert_eq!(
        one_off(&["old", "db:migrate"]),
        [LAUNCHER, "rake db:migrate"]
    );
    let nothing = processes().one_off(&[]);
    assert!(matches!(nothing, Err(ProcessesError::NoCommand)));
}

#[test]
fn images_of_other_builders_have_one_command() {
    let plain = Processes::of(&image(None, &["/app", "serve"])).unwrap();
    let default = plain.default_type().unwrap();
    assert_eq!(plain.start(&default).unwrap().argv, ["/app", "serve"]);
    assert!(plain.start(&"worker".parse().unwrap()).is_err());
    let words = ["echo $A".to_owned()];
    assert_eq!(
        plain.one_off(&words).unwrap().argv,
        ["/bin/sh", "-c", "echo $A"]
    );
    let words = ["echo".to_owned(), "$A".to_owned()];
    assert_eq!(plain.one_off(&words).unwrap().argv, ["echo", "$A"]);

    let empty = Processes::of(&image(None, &[])).unwrap();
    assert!(matches!(
        empty.default_type(),
        Err(ProcessesError::NothingToStart)
    ));
}

#[test]
fn broken_labels_are_errors() {
    let broken = Processes::of(&image(Some("{"), &[]));
    assert!(matches!(broken, Err(ProcessesError::Label { .. })));
}
