#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn parsed(text: &str) -> Project {
    parse(Path::new("/app/project.toml"), text, PRODUCTION).unwrap()
}

fn refused(text: &str) -> String {
    parse(Path::new("/app/project.toml"), text, PRODUCTION)
        .unwrap_err()
        .to_string()
}

fn reference(text: &str) -> Declared {
    Declared::Reference(text.to_owned())
}

#[test]
fn schema_0_2() {
    let project = parsed(
        "[_]\nschema-version = \"0.2\"\nid = \"shop\"\n\
         [io.buildpacks]\nexclude = [\"*.md\"]\nbuilder = \"r.example/builder\"\n\
         [[io.buildpacks.group]]\nid = \"a/b\"\nversion = \"1.0\"\n\
         [[io.buildpacks.group]]\nuri = \"./mine\"\n\
         [[io.buildpacks.pre.group]]\nid = \"first\"\n\
         [[io.buildpacks.post.group]]\nid = \"last\"\n[io.buildpacks.post.group.script]\napi = \"0.10\"\n\
         inline = \"echo hi\"\n\
         [[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\n",
    );
    assert_eq!(
        project,
        Project {
            id: Some("shop".to_owned()),
            include: vec![],
            exclude: vec!["*.md".to_owned()],
            env: vec![("A".to_owned(), "1".to_owned())],
            builder: Some("r.example/builder".to_owned()),
            group: vec![reference("a/b@1.0"), reference("./mine")],
            pre: vec![reference("first")],
            post: vec![Declared::Inline(Inline {
                id: "last".to_owned(),
                version: "0.0.0".to_owned(),
                api: "0.10".to_owned(),
                shell: "/bin/sh".to_owned(),
                script: "echo hi".to_owned(),
            })],
            folder: "/app".into(),
            ..Project::default()
        }
    );
}

#[test]
fn schema_0_1() {
    let project = parsed(
        "[project]\nid = \"io.acme.shop\"\n[build]\ninclude = [\"src/\"]\nbuilder = \"b\"\n\
         [[build.buildpacks]]\nid = \"a\"\n[[build.env]]\nname = \"B\"\nvalue = \"2\"\n",
    );
    assert_eq!(project.id.as_deref(), Some("io.acme.shop"));
    assert_eq!(project.include, ["src/"]);
    assert_eq!(project.env, [("B".to_owned(), "2".to_owned())]);
    assert_eq!(project.builder.as_deref(), Some("b"));
    assert_eq!(project.group, [reference("a")]);
}

#[test]
fn what_is_for_other_execution_environments_is_left_out() {
    let text = "[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\nexec-env = [\"test\"]\n\
                [[io.buildpacks.group]]\nid = \"a\"\nexec-env = [\"test\"]\n[[io.buildpacks.group]]\nid = \"b\"\n";
    assert_eq!(parsed(text).group, [reference("b")]);
    assert!(parsed(text).env.is_empty());
    let other = parse(Path::new("p"), text, "test").unwrap();
    assert_eq!(other.group, [reference("a"), reference("b")]);
    assert_eq!(other.env.len(), 1);
}

#[test]
fn an_error_names_file_line_column_and_key() {
    for (text, expected) in [
        ("[_]\nid = 3\n", "/app/project.toml:2:6: _.id: "),
        (
            "[_]\nschema-version = \"9\"\n",
            "/app/project.toml:2:18: _.schema-version: schema \"9\" is not known",
        ),
        (
            "[_]\n\n[[io.buildpacks.group]]\nversion = \"1\"\n",
            "/app/project.toml:3:1: io.buildpacks.group: a buildpack needs an id, a uri or a script",
        ),
        (
            "[[io.buildpacks.group]]\nid = \"a\"\n[io.buildpacks.group.script]\ninline = \"x\"\n",
            "/app/project.toml:1:1: io.buildpacks.group: the script of a does not say which Buildpack API",
        ),
        ("[_\n", "/app/project.toml:1:"),
    ] {
        let error = refused(text);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_a_project_says_about_itself() {
    let project = parsed(
        "[_]\nname = \"The shop\"\nversion = \"1.4\"\nauthors = [\"Ann\"]\nlicenses = [{type = \"MIT\"}, {uri = \"x\"}]\n\
         source-url = \"https://h.example/x\"\n[[slugc.slices]]\npaths = [\"static\"]\n",
    );
    assert_eq!(project.about.name.as_deref(), Some("The shop"));
    assert_eq!(project.about.licenses, ["MIT"]);
    assert_eq!(
        project.about.source_url.as_deref(),
        Some("https://h.example/x")
    );
    assert_eq!(project.slices[0].paths, ["static"]);
}

#[test]
fn fuzzed_descriptors() {
    let new = "[_]\nschema-version = \"0.2\"\nid = \"shop\"\n[io.buildpacks]\nexclude = [\"*.md\", \"/docs\"]\n\
        builder = \"r.example/builder\"\n[[io.buildpacks.group]]\nid = \"a/b\"\nversion = \"1.0\"\n\
        [[io.buildpacks.post.group]]\nid = \"last\"\n[io.buildpacks.post.group.script]\napi = \"0.10\"\n\
        inline = \"echo hi\"\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\n";
    let old = "[project]\nid = \"shop\"\n[build]\ninclude = [\"*.py\"]\n[[build.env]]\nname = \"A\"\nvalue = \"1\"\n\
        [[build.buildpacks]]\nuri = \"./mine\"\n";
    let inputs = [new, old].map(|text| text.as_bytes().to_vec());
    let seeds = test_support::Seeds {
        inputs: &inputs,
        words: &[
            "[[",
            "]]",
            "\"\"\"",
            "é",
            "\u{feff}",
            "0.1",
            "0.2",
            "{",
            "inf",
            "!",
            "**",
            "\\",
            "uri = ",
            "1979-05-27",
        ],
    };
    test_support::fuzz("project.toml", seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Err(error) = parse(Path::new("/app/project.toml"), &text, PRODUCTION) {
            assert!(error.to_string().contains("project.toml"), "{error}");
        }
    });
}
