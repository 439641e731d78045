//! What images say of themselves: labels and annotations out of git and project.toml, and slices of the app.

use crate::as_each_user;
use test_support::{App, LayoutImage, TestContext, read_layout};

const REVISION: &str = "org.opencontainers.image.revision";
const SOURCE: &str = "org.opencontainers.image.source";

fn built(t: &TestContext, app: &App, epoch: Option<&str>) -> (LayoutImage, bool) {
    let folder = t.scratch().join("image");
    drop(std::fs::remove_dir_all(&folder));
    let place = format!("oci:{}", folder.display());
    let mut call = t.slugc_in(app).args(["build", ".", "-o", &place]);
    if let Some(epoch) = epoch {
        call = call.env("SOURCE_DATE_EPOCH", epoch);
    }
    let finished = call.run().success();
    let image = read_layout(&folder);
    assert_eq!(finished.digest(), image.digest.to_string());
    (image, finished.stdout.contains("up to date"))
}

as_each_user! {
    /// A commit of the same files is another configuration over the same layers, and no build.
    fn a_commit_costs_no_layer(t: &TestContext) {
        let app = t.fixture("worker-only");
        let (plain, _) = built(t, &app, None);
        let labels = &plain.config.config.labels;
        assert!(!labels.keys().any(|name| name.starts_with("org.opencontainers.")), "{labels:?}");

        app.git(&["init", "--quiet"]);
        app.git(&["remote", "add", "origin", "https://ann:s3cret@git.example/team/shop.git"]);
        app.git(&["add", "--all"]);
        app.git(&["commit", "--quiet", "--message", "First"]);
        let (first, up_to_date) = built(t, &app, None);
        assert!(up_to_date);
        let labels = &first.config.config.labels;
        assert_eq!(labels[REVISION], app.git(&["rev-parse", "HEAD"]));
        assert_eq!(labels[SOURCE], "https://git.example/team/shop.git");
        assert_eq!(first.manifest.annotations[REVISION], labels[REVISION]);
        assert!(labels["io.buildpacks.project.metadata"].contains(&labels[REVISION]));
        assert_eq!(first.manifest.layers, plain.manifest.layers);
        assert_ne!(first.digest, plain.digest);

        app.git(&["commit", "--quiet", "--allow-empty", "--message", "Second"]);
        app.git(&["pack-refs", "--all"]);
        let (second, up_to_date) = built(t, &app, None);
        assert!(up_to_date);
        assert_eq!(second.config.config.labels[REVISION], app.git(&["rev-parse", "HEAD"]));
        assert_eq!(second.manifest.layers, plain.manifest.layers);
        // From scratch it is the same image.
        t.slugc_in(&app).args(["build", ".", "--clear-cache"]).run().success().says(&[&second.digest.to_string()]);

        let (dated, up_to_date) = built(t, &app, Some("1700000000"));
        assert!(up_to_date);
        assert_eq!(dated.config.created.as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(dated.manifest.annotations["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
        let (again, _) = built(t, &app, None);
        assert_eq!(again.digest, second.digest);
        t.slugc_in(&app).args(["build", "."]).env("SOURCE_DATE_EPOCH", "yesterday").run().failure(3).says(&["SOURCE_DATE_EPOCH", "yesterday"]);
    }
}

as_each_user! {
    fn projects_describe_their_images_and_cut_them(t: &TestContext) {
        let app = t.fixture("worker-only");
        app.write("static/logo.svg", "<svg/>");
        app.write("static/big.bin", vec![7; 100_000]);
        app.write("project.toml", "[_]\nname = \"The shop\"\nversion = \"1.4\"\nauthors = [\"Ann\", \"Bob\"]\nlicenses = [{ type = \"MIT\" }]\n\
            documentation-url = \"https://docs.example\"\nsource-url = \"https://ann:s3cret@git.example/shop\"\n\n[[slugc.slices]]\npaths = [\"static\"]\n");
        let (image, _) = built(t, &app, None);
        let labels = &image.config.config.labels;
        for (name, value) in [
            ("title", "The shop"),
            ("version", "1.4"),
            ("authors", "Ann, Bob"),
            ("licenses", "MIT"),
            ("documentation", "https://docs.example"),
            ("source", "https://git.example/shop"),
        ] {
            assert_eq!(labels[&format!("org.opencontainers.image.{name}")], value);
        }
        // The code is one layer, its static files are another one.
        app.append("worker.py", "\n# A line more.\n");
        let (other, _) = built(t, &app, None);
        let changed = |one: &LayoutImage, other: &LayoutImage| {
            one.manifest.layers.iter().filter(|layer| !other.manifest.layers.contains(layer)).map(|layer| layer.size).collect::<Vec<_>>()
        };
        assert_eq!(image.manifest.layers.len(), other.manifest.layers.len());
        assert_eq!(changed(&other, &image).len(), 1);
        app.write("static/logo.svg", "<svg></svg>");
        let (third, _) = built(t, &app, None);
        assert_eq!(changed(&third, &other).len(), 1);
        assert_ne!(changed(&third, &other), changed(&other, &image));
        t.slugc_in(&app).args(["run", "ls", "static"]).run().success().says(&["logo.svg", "big.bin"]);
    }
}
