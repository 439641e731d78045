//! `slugc inspect`.

use crate::as_each_user;
use test_support::TestContext;

as_each_user! {
    fn an_image(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let layout = t.scratch().join("layout");
        let digest = t
            .slugc_in(&app)
            .args(["build", ".", "-t", "shop:1.0", "-o"])
            .arg(format!("oci:{}", layout.display()))
            .run()
            .success()
            .digest();
        let seen = t.slugc_in(&app).args(["inspect", "--output", "json"]).run().success().json();
        assert_eq!(seen["digest"], digest);
        assert_eq!(seen["app"], app.name());
        assert_eq!(seen["tags"][0], "shop:1.0");
        let texts = |list: &str, field: &str| -> Vec<String> {
            let items = seen[list].as_array().unwrap();
            items.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(texts("processes", "type"), ["report", "web"]);
        assert_eq!(texts("buildpacks", "id").len(), 2);
        let names = texts("layers", "name");
        for name in ["app", "launcher", "config"] {
            assert!(names.iter().any(|layer| layer == name), "{names:?}");
        }
        let image = test_support::read_layout(&layout);
        assert_eq!(image.digest.to_string(), digest);
        let size: u64 = image.manifest.layers.iter().map(|layer| layer.size).sum();
        assert_eq!(seen["size"], size);

        let text = t.slugc_in(&app).arg("inspect").run().success();
        text.says(&[&digest, "web (default): gunicorn --bind 0.0.0.0:$PORT", "report: python report.py", "shop:1.0"]);

        let outside = t
            .slugc()
            .args(["inspect", "--output", "json"])
            .arg(format!("oci:{}", layout.display()))
            .run()
            .success()
            .json();
        assert_eq!(outside["digest"], digest);
        assert_eq!(outside["layers"], seen["layers"]);
    }
}
