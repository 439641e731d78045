//! Tools that all apps share: fetched once, and out of reach for build code.

use crate::as_each_user;
use test_support::TestContext;

/// Settings that refuse to load when the folder of tools, or anything in it, can be changed.
const ATTACK: &str = r"
import pathlib as _pathlib
_tools = _pathlib.Path(os.environ['BP_TOOLS_DIR'])
_programs = [path for path in _tools.rglob('*') if path.is_file()]
assert _programs, 'there is no tool to attack'

def _attempts():
    yield lambda: (_tools / 'planted').write_text('x')
    for _path in _programs:
        yield lambda: _path.open('ab')
        yield lambda: _path.chmod(0o777)
        yield lambda: _path.unlink()
        yield lambda: _path.rename(_path.with_name('moved'))

for _attempt in _attempts():
    try:
        _attempt()
    except OSError:
        continue
    raise SystemExit('a tool of all apps was changed')
print('no tool could be changed')
";

as_each_user! {
    fn uv_is_fetched_once_for_all_apps(t: &TestContext) {
        let first = t.fixture("worker-only");
        t.slugc_in(&first).args(["build", "."]).run().success();
        let second = t.fixture("flask-gunicorn");
        t.slugc_in(&second)
            .args(["build", "."])
            .run()
            .success()
            .says(&["with uv"])
            .never_says(&["Fetching uv"]);
        // Under other platforms there is no such folder, and the image is the same.
        let digest = t.slugc_in(&second).args(["build", "."]).run().success().digest();
        let alone = second.duplicate(t.scratch());
        let fetched = t
            .slugc_in(&alone)
            .args(["build", ".", "-e", "BP_TOOLS_DIR=/nowhere"])
            .run()
            .success()
            .says(&["Fetching uv"]);
        assert_eq!(fetched.digest(), digest);
    }
}

as_each_user! {
    fn build_code_cannot_change_shared_tools(t: &TestContext) {
        let app = t.fixture("django-static-db");
        t.slugc_in(&app).args(["build", "."]).run().success();
        app.append("shelf/settings.py", ATTACK);
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["no tool could be changed"]);
    }
}

as_each_user! {
    /// Nothing is fetched for requirements that ask for nothing.
    fn no_tool_for_nothing(t: &TestContext) {
        let app = t.fixture("worker-only");
        app.write("requirements.txt", "# later\n");
        t.slugc_in(&app)
            .args(["build", ".", "-e", "BP_TOOLS_DIR=/nowhere"])
            .run()
            .success()
            .says(&["asks for nothing"])
            .never_says(&["Fetching uv"]);
    }
}
